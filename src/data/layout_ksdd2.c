/* KolektorSDD2 (Božič, Tabernik, Skočaj 2021): {train,test}/<id>.png with masks <id>_GT.png, black ones for good
 * images, and split_weakly_<N>.pyb, which tells the N training images whose masks are kept. */
#include "data/layout.h"

#include <stdlib.h>
#include <string.h>

static const char mark[] = "_GT";

static bool matches(const char *path) {
    Error e = {0};
    Listing files = {0};
    char *train = path_format(&e, "%s/train", path);
    bool found = false;
    if (train && is_folder(train) && listing_open(&files, train, LIST_FILES, &e) == BLEMISH_OK)
        for (size_t i = 0; i < files.count && !found; i++) found = strstr(files.names[i], "_GT.png") != NULL;
    listing_close(&files);
    free(train);
    return found;
}

/* Labels an image by its mask, which is there for every one. */
static BlemishStatus read_label(Manifest *m, Sample *sample, bool tolerant, Error *e) {
    MaskReader reader = {0};
    BlemishImage mask;
    BlemishStatus status = mask_read(&reader, sample->mask_path, sample->path, &mask, e);
    mask_reader_close(&reader);
    bool defect = mask.data != NULL;
    image_free(&mask);
    if (status == BLEMISH_OK) {
        sample->label = defect ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_GOOD;
        sample->type = defect ? "defect" : "good";
        return BLEMISH_OK;
    }
    if (!tolerant) return status;
    const Error found = *e;
    *e = (Error){0};
    free(sample->mask_path);
    sample->mask_path = NULL;
    sample->label = BLEMISH_LABEL_UNKNOWN;
    sample->type = "unknown";
    return problems_add(&m->problems, BLEMISH_PROBLEM_MASK_UNREADABLE, e, "%s", found.text);
}

/* The image root/split/stem.png; `segmented`: its mask is kept. */
static BlemishStatus read_image(Manifest *m, const char *root, BlemishSplit split, const char *stem, int length,
                                bool segmented, bool tolerant, Error *e) {
    const char *folder = split == BLEMISH_SPLIT_TRAIN ? "train" : "test";
    Sample sample = {.path = path_format(e, "%s/%s/%.*s.png", root, folder, length, stem),
                     .mask_path = path_format(e, "%s/%s/%.*s%s.png", root, folder, length, stem, mark),
                     .split = split};
    BlemishStatus status = sample.path && sample.mask_path ? BLEMISH_OK : e->status;
    if (status == BLEMISH_OK && !is_file(sample.mask_path))
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: found no such mask, expected one for every image",
                           sample.mask_path);
    if (status == BLEMISH_OK) status = read_label(m, &sample, tolerant, e);
    if (!segmented) {
        free(sample.mask_path);
        sample.mask_path = NULL;
    }
    if (status == BLEMISH_OK) status = manifest_add(m, &sample, e);
    free(sample.path);
    free(sample.mask_path);
    return status;
}

static BlemishStatus read_folder(Manifest *m, const char *root, BlemishSplit split, bool tolerant, Error *e) {
    char *folder = path_format(e, "%s/%s", root, split == BLEMISH_SPLIT_TRAIN ? "train" : "test");
    Listing files = {0};
    BlemishStatus status = folder ? listing_open(&files, folder, LIST_FILES, e) : e->status;
    for (size_t i = 0; status == BLEMISH_OK && i < files.count; i++) {
        const char *name = files.names[i], *dot = strrchr(name, '.');
        /* The published archive holds a "10301_GT (copy).png" too. */
        if (dot == NULL || strcmp(dot, ".png") != 0 || strstr(name, mark)) continue;
        status = read_image(m, root, split, name, stem_length(name), true, tolerant, e);
    }
    listing_close(&files);
    free(folder);
    return status;
}

static BlemishStatus read_list(Manifest *m, const char *root, const char *path, BlemishSplit split,
                               const SplitList *list, bool tolerant, Error *e) {
    BlemishStatus status = BLEMISH_OK;
    for (size_t i = 0; status == BLEMISH_OK && i < list->count; i++) {
        const SplitEntry *entry = &list->entries[i];
        char *image = path_format(e, "%s/%s/%s.png", root, split == BLEMISH_SPLIT_TRAIN ? "train" : "test", entry->id);
        if (image == NULL) return e->status;
        if (is_file(image))
            status = read_image(m, root, split, entry->id, (int)strlen(entry->id),
                                entry->segmented || split == BLEMISH_SPLIT_TEST, tolerant, e);
        else
            status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: id %s: found no file %s", path, entry->id, image);
        free(image);
    }
    return status;
}

static BlemishStatus read_split(Manifest *m, const char *root, const char *path, bool tolerant, Error *e) {
    SplitList lists[2];
    if (split_lists_read(lists, 2, 1, path, e) != BLEMISH_OK) return e->status;
    BlemishStatus status = read_list(m, root, path, BLEMISH_SPLIT_TRAIN, &lists[0], tolerant, e);
    if (status == BLEMISH_OK) status = read_list(m, root, path, BLEMISH_SPLIT_TEST, &lists[1], tolerant, e);
    split_lists_close(lists, 2);
    m->masks_chosen = true;
    return status;
}

static BlemishStatus read_all(Manifest *m, const char *path, const BlemishDatasetSettings *settings, Error *e) {
    char *split = path_format(e, "%s/split_weakly_%lld.pyb", path, (long long)settings->mask_count);
    if (split == NULL) return e->status;
    BlemishStatus status;
    if (is_file(split)) {
        status = read_split(m, path, split, settings->tolerant, e);
    } else {
        status = read_folder(m, path, BLEMISH_SPLIT_TRAIN, settings->tolerant, e);
        if (status == BLEMISH_OK) status = read_folder(m, path, BLEMISH_SPLIT_TEST, settings->tolerant, e);
    }
    free(split);
    return status;
}

const Layout layout_ksdd2 = {"ksdd2", "train/*_GT.png", matches, read_all, 0};
