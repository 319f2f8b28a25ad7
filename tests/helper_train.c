#include "helper_train.h"

#include <stdio.h>
#include <string.h>

void train_picture(const char *folder, const char *name, bool defect, uint64_t seed) {
    enum { SQUARE = 11 };
    Error e = {0};
    char path[PATH_SIZE], mask_name[64];
    BlemishImage image, mask;
    Random r = random_new(seed, 1);
    picture_make(&image, TRAIN_SIDE + 8, TRAIN_SIDE, 3, seed);
    assert_ok(image_new(&mask, image.width, image.height, 1, &e), e.text);
    const size_t left = random_below(&r, TRAIN_SIDE - SQUARE), top = random_below(&r, TRAIN_SIDE - SQUARE);
    for (size_t y = top; defect && y < top + SQUARE; y++) {
        memset(image_pixels(&image) + y * image.stride + 3 * left, 0, (size_t)3 * SQUARE);
        memset(image_pixels(&mask) + y * mask.stride + left, 255, SQUARE);
    }
    assert_ok(image_write_png(&image, path_in(path, folder, name), &e), e.text);
    snprintf(mask_name, sizeof mask_name, "mask-%s", name);
    if (defect) assert_ok(image_write_png(&mask, path_in(path, folder, mask_name), &e), e.text);
    image_free(&image);
    image_free(&mask);
}

void train_list(Manifest *m, const char *folder, const char *name, const char *mask, BlemishLabel label,
                BlemishSplit split) {
    Error e = {0};
    char path[PATH_SIZE], mask_path[PATH_SIZE], type[] = "any";
    const Sample sample = {.path = path_in(path, folder, name),
                           .mask_path = mask ? path_in(mask_path, folder, mask) : NULL,
                           .type = type,
                           .label = label,
                           .split = split};
    assert_ok(manifest_add(m, &sample, &e), e.text);
}

void train_manifest(Manifest *m, const char *folder, size_t good, size_t defects, size_t maskless) {
    char name[32], mask[40];
    *m = (Manifest){.layout = "test"};
    for (size_t i = 0; i < good + defects; i++) {
        const bool defect = i >= good;
        snprintf(name, sizeof name, "%c%zu.png", defect ? 'd' : 'g', defect ? i - good : i);
        snprintf(mask, sizeof mask, "mask-%s", name);
        train_picture(folder, name, defect, i);
        train_list(m, folder, name, defect && i + maskless < good + defects ? mask : NULL,
                   defect ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_GOOD, BLEMISH_SPLIT_TRAIN);
    }
}

Recipe train_recipe(Regime regime, Variant variant) {
    Recipe r;
    recipe_defaults(&r);
    r.regime = (int)regime;
    r.variant = (int)variant;
    r.height = r.width = TRAIN_SIDE;
    r.hidden = 64;
    r.epochs = 3;
    r.batch = 4;
    recipe_resolve(&r, regime == REGIME_SUPERVISED);
    return r;
}

BlemishTrainSettings train_settings(void) {
    BlemishTrainSettings s;
    blemish_train_defaults(&s);
    s.threads = 1;
    return s;
}

int train_stop(void *user, const BlemishProgress *progress) {
    Stop *stop = user;
    stop->calls++;
    stop->loss = progress->loss;
    return stop->stage && strcmp(stop->stage, progress->stage) == 0 && progress->done >= stop->at;
}

bool heads_equal(const Heads *a, const Heads *b) {
    const HeadStats *s = &a->stats, *t = &b->stats;
    const size_t hidden = a->params.hidden * sizeof(float), cls = CLS_CHANNELS * sizeof(float);
    return a->icpr == b->icpr && a->feature_scale == b->feature_scale && a->params.total == b->params.total &&
           memcmp(a->params.all, b->params.all, a->params.total * sizeof(float)) == 0 &&
           memcmp(s->seg_mean, t->seg_mean, hidden) == 0 && memcmp(s->seg_var, t->seg_var, hidden) == 0 &&
           memcmp(s->cls_mean, t->cls_mean, cls) == 0 && memcmp(s->cls_var, t->cls_var, cls) == 0;
}
