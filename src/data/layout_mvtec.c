/* MVTec AD (Bergmann et al. 2019), MVTec LOCO and BTAD: train/good, test/<type>, ground_truth/<type>/<name>_mask.png;
 * in LOCO a folder ground_truth/<type>/<name> of several masks, in BTAD "ok" for "good". Beyond the published sets,
 * train may hold defects too, with masks in the same place. */
#include "data/layout.h"

#include <stdlib.h>
#include <string.h>

static bool is_good(const char *type) {
    return strcmp(type, "good") == 0 || strcmp(type, "ok") == 0;
}

static bool matches(const char *path) {
    Error e = {0};
    char *good = path_format(&e, "%s/train/good", path), *ok = path_format(&e, "%s/train/ok", path);
    bool found = (good && is_folder(good)) || (ok && is_folder(ok));
    free(good);
    free(ok);
    return found;
}

/* Train and test share ground_truth/<type>: a name in both would give one of them the other's mask. */
static BlemishStatus refuse_shared_name(const char *root, const char *type, const char *name, Error *e) {
    char *test = path_format(e, "%s/test/%s", root, type), *twin = NULL;
    BlemishStatus status = test ? find_mask(test, name, stem_length(name), &twin, e) : e->status;
    if (twin)
        status = error_set(e, BLEMISH_ERROR_FORMAT,
                           "%s/train/%s/%s: name: found %s too, expected different names where both have masks", root,
                           type, name, twin);
    free(test);
    free(twin);
    return status;
}

static BlemishStatus find_ground_truth(const char *root, const char *split, const char *type, const char *name,
                                       char **mask, Error *e) {
    *mask = NULL;
    int length = stem_length(name);
    char *folder = path_format(e, "%s/ground_truth/%s", root, type);
    char *several = path_format(e, "%s/ground_truth/%s/%.*s", root, type, length, name);
    BlemishStatus status = folder && several ? BLEMISH_OK : e->status;
    if (status == BLEMISH_OK && is_folder(several)) {
        *mask = several;
        several = NULL;
    } else if (status == BLEMISH_OK) {
        status = find_mask(folder, name, length, mask, e);
    }
    if (*mask && strcmp(split, "train") == 0) status = refuse_shared_name(root, type, name, e);
    free(folder);
    free(several);
    return status;
}

static BlemishStatus read_type(Manifest *m, const char *root, const char *split, const char *type, Error *e) {
    char *folder = path_format(e, "%s/%s/%s", root, split, type);
    Listing files = {0};
    BlemishStatus status = folder ? listing_open(&files, folder, LIST_FILES, e) : e->status;
    for (size_t i = 0; status == BLEMISH_OK && i < files.count; i++) {
        if (!is_image_name(files.names[i])) continue;
        Sample sample = {.type = (char *)(is_good(type) ? "good" : type),
                         .label = is_good(type) ? BLEMISH_LABEL_GOOD : BLEMISH_LABEL_DEFECT,
                         .split = strcmp(split, "test") == 0 ? BLEMISH_SPLIT_TEST : BLEMISH_SPLIT_TRAIN};
        status = find_ground_truth(root, split, type, files.names[i], &sample.mask_path, e);
        if (status == BLEMISH_OK) {
            sample.path = path_format(e, "%s/%s", folder, files.names[i]);
            status = sample.path ? manifest_add(m, &sample, e) : e->status;
        }
        free(sample.path);
        free(sample.mask_path);
    }
    listing_close(&files);
    free(folder);
    return status;
}

static BlemishStatus read_split(Manifest *m, const char *root, const char *split, Error *e) {
    char *folder = path_format(e, "%s/%s", root, split);
    Listing types = {0};
    BlemishStatus status = folder ? BLEMISH_OK : e->status;
    if (status == BLEMISH_OK && is_folder(folder)) status = listing_open(&types, folder, LIST_FOLDERS, e);
    for (size_t i = 0; status == BLEMISH_OK && i < types.count; i++)
        status = read_type(m, root, split, types.names[i], e);
    listing_close(&types);
    free(folder);
    return status;
}

/* LOCO's good images for choosing thresholds: not to be trained on, and not to be tested on. */
static BlemishStatus count_validation(Manifest *m, const char *root, Error *e) {
    char *folder = path_format(e, "%s/validation/good", root);
    Listing files = {0};
    BlemishStatus status = folder ? BLEMISH_OK : e->status;
    if (status == BLEMISH_OK && is_folder(folder)) status = listing_open(&files, folder, LIST_FILES, e);
    for (size_t i = 0; i < files.count; i++) m->validation += is_image_name(files.names[i]);
    listing_close(&files);
    free(folder);
    return status;
}

static BlemishStatus read_all(Manifest *m, const char *path, const BlemishDatasetSettings *settings, Error *e) {
    (void)settings;
    BlemishStatus status = read_split(m, path, "train", e);
    if (status == BLEMISH_OK) status = read_split(m, path, "test", e);
    return status == BLEMISH_OK ? count_validation(m, path, e) : status;
}

const Layout layout_mvtec = {"mvtec", "train/good or train/ok", matches, read_all, 0};
