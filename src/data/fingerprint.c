#include "data/layout.h"
#include "store/store.h"

#include <stdlib.h>
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

/* sha256 of a mask file; of a folder of them, over their names and contents. */
static BlemishStatus mask_content(const char *path, char hex[65], Error *e) {
    if (!is_folder(path)) return sha256_file(path, hex, e);
    Listing files;
    Sha256 all;
    uint8_t digest[32];
    sha256_start(&all);
    BlemishStatus status = listing_open(&files, path, LIST_FILES, e);
    for (size_t i = 0; status == BLEMISH_OK && i < files.count; i++) {
        char content[65], *file = path_format(e, "%s/%s", path, files.names[i]);
        status = file ? sha256_file(file, content, e) : e->status;
        free(file);
        if (status != BLEMISH_OK) break;
        sha256_add(&all, files.names[i], strlen(files.names[i]) + 1);
        sha256_add(&all, content, strlen(content) + 1);
    }
    listing_close(&files);
    sha256_finish(&all, digest);
    sha256_hex(digest, hex);
    return status;
}

BlemishStatus manifest_fingerprint(const Manifest *m, char hex[65], Error *e) {
    Sha256 whole;
    uint8_t digest[32];
    sha256_start(&whole);
    const char *last_mask = NULL; /* one file may hold the masks of all images */
    char mask[65];
    size_t folder = m->count ? common_folder(m) : 0;
    for (size_t i = 0; i < m->count; i++) {
        const Sample *s = &m->samples[i];
        char content[65];
        if (sha256_file(s->path, content, e) != BLEMISH_OK) return e->status;
        const bool again = s->mask_path && last_mask && strcmp(s->mask_path, last_mask) == 0;
        if (s->mask_path && !again && mask_content(s->mask_path, mask, e) != BLEMISH_OK) return e->status;
        if (s->mask_path) last_mask = s->mask_path;
        const uint8_t marks[2] = {(uint8_t)s->label, (uint8_t)s->split};
        /* Every part ends where its terminating zero is: no two lists give the same bytes. */
        sha256_add(&whole, s->path + folder, strlen(s->path + folder) + 1);
        sha256_add(&whole, marks, sizeof marks);
        sha256_add(&whole, content, strlen(content) + 1);
        sha256_add(&whole, s->mask_path ? mask : "", s->mask_path ? strlen(mask) + 1 : 1);
    }
    sha256_finish(&whole, digest);
    sha256_hex(digest, hex);
    return BLEMISH_OK;
}
