#include "data/data.h"
#include "store/store.h"

#include <string.h>

/* Length of the folder part that every sample's path starts with, so that moving a data set changes nothing. */
static size_t common_folder(const Manifest *m) {
    const char *first = m->samples[0].path;
    size_t common = strlen(first);
    for (size_t i = 1; i < m->count; i++) {
        size_t same = 0;
        while (same < common && m->samples[i].path[same] == first[same]) same++;
        common = same;
    }
    while (common && first[common - 1] != '/') common--;
    return common;
}

BlemishStatus manifest_fingerprint(const Manifest *m, char hex[65], Error *e) {
    Sha256 whole;
    uint8_t digest[32];
    sha256_start(&whole);
    size_t folder = m->count ? common_folder(m) : 0;
    for (size_t i = 0; i < m->count; i++) {
        const Sample *s = &m->samples[i];
        char content[65], mask[65] = "";
        if (sha256_file(s->path, content, e) != BLEMISH_OK) return e->status;
        if (s->mask_path && sha256_file(s->mask_path, mask, e) != BLEMISH_OK) return e->status;
        const uint8_t marks[2] = {(uint8_t)s->label, (uint8_t)s->split};
        /* Every part ends where its terminating zero is: no two lists give the same bytes. */
        sha256_add(&whole, s->path + folder, strlen(s->path + folder) + 1);
        sha256_add(&whole, marks, sizeof marks);
        sha256_add(&whole, content, strlen(content) + 1);
        sha256_add(&whole, mask, strlen(mask) + 1);
    }
    sha256_finish(&whole, digest);
    sha256_hex(digest, hex);
    return BLEMISH_OK;
}
