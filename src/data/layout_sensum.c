/* SensumSODF (Rački et al. 2021): <category>/{negative,positive}/data/<number>.png with masks positive/annotation, and
 * beside the categories sensum_splits/<category>/<fold>/{train,test}/{neg,pos}*.pckl: the three folds, and per cent of
 * masks kept the training images that have one (train/pos_<per cent>.pckl). */
#include "data/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDS = 3, DIGITS = 3 };

static bool matches(const char *path) {
    Error e = {0};
    char *negative = path_format(&e, "%s/negative/data", path), *positive = path_format(&e, "%s/positive/data", path);
    bool found = negative && positive && is_folder(negative) && is_folder(positive);
    free(negative);
    free(positive);
    return found;
}

/* The image root/{negative,positive}/data/name; `segmented`: its mask is kept. */
static BlemishStatus read_image(Manifest *m, const char *root, const char *name, BlemishLabel label, BlemishSplit split,
                                bool segmented, Error *e) {
    bool good = label == BLEMISH_LABEL_GOOD;
    Sample sample = {.path = path_format(e, "%s/%s/data/%s", root, good ? "negative" : "positive", name),
                     .type = good ? "good" : "defect",
                     .label = label,
                     .split = split};
    char *masks = path_format(e, "%s/positive/annotation", root);
    BlemishStatus status = sample.path && masks ? BLEMISH_OK : e->status;
    if (status == BLEMISH_OK && !good && segmented)
        status = find_mask(masks, name, stem_length(name), &sample.mask_path, e);
    if (status == BLEMISH_OK) status = manifest_add(m, &sample, e);
    free(sample.path);
    free(sample.mask_path);
    free(masks);
    return status;
}

static BlemishStatus read_folder(Manifest *m, const char *root, BlemishLabel label, Error *e) {
    char *folder = path_format(e, "%s/%s/data", root, label == BLEMISH_LABEL_GOOD ? "negative" : "positive");
    Listing files = {0};
    BlemishStatus status = folder ? listing_open(&files, folder, LIST_FILES, e) : e->status;
    for (size_t i = 0; status == BLEMISH_OK && i < files.count; i++)
        if (is_image_name(files.names[i])) status = read_image(m, root, files.names[i], label, SPLIT_UNSET, true, e);
    listing_close(&files);
    free(folder);
    return status;
}

static BlemishStatus read_list(Manifest *m, const char *root, const char *list_path, BlemishLabel label,
                               BlemishSplit split, Error *e) {
    SplitList list;
    if (split_lists_read(&list, 1, DIGITS, list_path, e) != BLEMISH_OK) return e->status;
    BlemishStatus status = BLEMISH_OK;
    for (size_t i = 0; status == BLEMISH_OK && i < list.count; i++) {
        const SplitEntry *entry = &list.entries[i];
        const char *folder = label == BLEMISH_LABEL_GOOD ? "negative" : "positive";
        char *name = path_format(e, "%s.png", entry->id), *image = NULL;
        if (name) image = path_format(e, "%s/%s/data/%s", root, folder, name);
        if (image == NULL)
            status = e->status;
        else if (is_file(image))
            status = read_image(m, root, name, label, split, entry->segmented || split == BLEMISH_SPLIT_TEST, e);
        else
            status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: id %s: found no file %s", list_path, entry->id, image);
        free(name);
        free(image);
    }
    split_lists_close(&list, 1);
    return status;
}

/* The list of defective training images: that of the ratio asked for, or else that of all masks. */
static char *training_list(Manifest *m, const char *folder, const BlemishDatasetSettings *settings, Error *e) {
    const double percent = 100 * settings->mask_ratio;
    if (settings->mask_count < 0 && percent >= 0 && percent <= 100 && fabs(percent - round(percent)) < 1e-9) {
        char *path = path_format(e, "%s/train/pos_%ld.pckl", folder, lround(percent));
        m->masks_chosen = path && is_file(path);
        if (path == NULL || m->masks_chosen) return path;
        free(path);
    }
    return path_format(e, "%s/train/pos_100.pckl", folder);
}

static BlemishStatus read_splits(Manifest *m, const char *root, const char *splits,
                                 const BlemishDatasetSettings *settings, Error *e) {
    char *folder = path_format(e, "%s/%d", splits, settings->fold);
    if (folder == NULL) return e->status;
    char *lists[] = {path_format(e, "%s/train/neg.pckl", folder), training_list(m, folder, settings, e),
                     path_format(e, "%s/test/neg.pckl", folder), path_format(e, "%s/test/pos.pckl", folder)};
    BlemishStatus status = lists[0] && lists[1] && lists[2] && lists[3] ? BLEMISH_OK : e->status;
    for (size_t i = 0; i < 4; i++) {
        if (status == BLEMISH_OK)
            status = read_list(m, root, lists[i], i % 2 ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_GOOD,
                               i < 2 ? BLEMISH_SPLIT_TRAIN : BLEMISH_SPLIT_TEST, e);
        free(lists[i]);
    }
    free(folder);
    return status;
}

static BlemishStatus read_all(Manifest *m, const char *path, const BlemishDatasetSettings *settings, Error *e) {
    char *folder, *category;
    BlemishStatus status = path_split(path, &folder, &category, e);
    if (status != BLEMISH_OK) return status;
    char *splits = path_format(e, "%s/sensum_splits/%s", folder, category);
    if (splits == NULL) {
        status = e->status;
    } else if (is_folder(splits)) {
        status = read_splits(m, path, splits, settings, e);
    } else {
        status = read_folder(m, path, BLEMISH_LABEL_GOOD, e);
        if (status == BLEMISH_OK) status = read_folder(m, path, BLEMISH_LABEL_DEFECT, e);
    }
    free(splits);
    free(folder);
    free(category);
    return status;
}

const Layout layout_sensum = {"sensum", "negative/data beside positive/data", matches, read_all, FOLDS};
