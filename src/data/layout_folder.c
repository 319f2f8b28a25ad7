/* A plain folder: good/, defect/ and masks/, the last two optional. Masks have their image's name, with or without
 * "_mask" before the extension; they may be polygons in .json or .txt files. */
#include "data/layout.h"

#include <stdlib.h>

static bool matches(const char *path) {
    Error e = {0};
    char *good = path_format(&e, "%s/good", path);
    bool found = good && is_folder(good);
    free(good);
    return found;
}

static BlemishStatus find_any_mask(const char *masks, const char *name, char **mask, Error *e) {
    static const char *const drawn[] = {"json", "txt"};
    BlemishStatus status = find_mask(masks, name, stem_length(name), mask, e);
    for (size_t i = 0; i < 2 && status == BLEMISH_OK && *mask == NULL; i++) {
        *mask = path_format(e, "%s/%.*s.%s", masks, stem_length(name), name, drawn[i]);
        if (*mask == NULL) return e->status;
        if (is_file(*mask)) break;
        free(*mask);
        *mask = NULL;
    }
    return status;
}

static BlemishStatus read_part(Manifest *m, const char *root, const char *part, BlemishLabel label, Error *e) {
    char *folder = path_format(e, "%s/%s", root, part), *masks = path_format(e, "%s/masks", root);
    BlemishStatus status = folder && masks ? BLEMISH_OK : e->status;
    Listing files = {0};
    if (status == BLEMISH_OK && is_folder(folder)) status = listing_open(&files, folder, LIST_FILES, e);
    for (size_t i = 0; status == BLEMISH_OK && i < files.count; i++) {
        const char *name = files.names[i];
        if (!is_image_name(name)) continue;
        Sample sample = {.type = (char *)part, .label = label, .split = SPLIT_UNSET};
        if (label == BLEMISH_LABEL_DEFECT) status = find_any_mask(masks, name, &sample.mask_path, e);
        if (status == BLEMISH_OK) {
            sample.path = path_format(e, "%s/%s", folder, name);
            status = sample.path ? manifest_add(m, &sample, e) : e->status;
        }
        free(sample.path);
        free(sample.mask_path);
    }
    listing_close(&files);
    free(folder);
    free(masks);
    return status;
}

static BlemishStatus read_all(Manifest *m, const char *path, const BlemishDatasetSettings *settings, Error *e) {
    (void)settings;
    BlemishStatus status = read_part(m, path, "good", BLEMISH_LABEL_GOOD, e);
    return status == BLEMISH_OK ? read_part(m, path, "defect", BLEMISH_LABEL_DEFECT, e) : status;
}

const Layout layout_folder = {"folder", "good", matches, read_all, 0};
