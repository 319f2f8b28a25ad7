/* blemish_train: a small network on small pictures, and the thresholds it leaves in the model. */
#include "helper_model.h"
#include "metric/metric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, GOOD = 5, DEFECTS = 4, IMAGES = GOOD + DEFECTS };

static char folder[PATH_SIZE], weights[PATH_SIZE];

/* resnet18's trunk with test values, as torchvision would store it. */
static void write_weights(void) {
    enum { CAPACITY = 256 };
    Error e = {0};
    TrunkTensor list[CAPACITY];
    Tensor tensors[CAPACITY];
    size_t n = trunk_tensors("resnet18", list, CAPACITY);
    assert_in_range(n, 1, CAPACITY);
    for (size_t i = 0; i < n; i++) {
        Tensor *t = &tensors[i];
        *t = (Tensor){.name = list[i].name, .type = TENSOR_F32, .rank = list[i].rank, .count = 1};
        for (size_t k = 0; k < t->rank; k++) t->count *= t->shape[k] = list[i].shape[k];
        float *values = array_new(t->count, sizeof *values, &e);
        fill_tensor(t->name, t->rank, t->shape, values);
        t->data = values;
    }
    assert_ok(safetensors_write(path_in(weights, folder, "r18.safetensors"), tensors, n, NULL, 0, &e), e.text);
    for (size_t i = 0; i < n; i++) array_free((void *)(uintptr_t)tensors[i].data);
}

/* Defects are a black square with a mask; the last has none. */
static void write_pictures(void) {
    char path[PATH_SIZE], name[32];
    Error e = {0};
    for (size_t i = 0; i < IMAGES; i++) {
        BlemishImage image, mask;
        picture_make(&image, 48, 40, 3, i);
        assert_ok(image_new(&mask, 48, 40, 1, &e), e.text);
        for (size_t y = 10; i >= GOOD && y < 22; y++)
            for (size_t x = 4 + 4 * i; x < 16 + 4 * i && x < 48; x++) {
                memset(image_pixels(&image) + y * image.stride + 3 * x, 0, 3);
                image_pixels(&mask)[y * mask.stride + x] = 255;
            }
        snprintf(name, sizeof name, "%zu.png", i);
        assert_ok(image_write_png(&image, path_in(path, folder, name), &e), e.text);
        snprintf(name, sizeof name, "%zu_mask.png", i);
        assert_ok(image_write_png(&mask, path_in(path, folder, name), &e), e.text);
        image_free(&image);
        image_free(&mask);
    }
}

static int open_all(void **state) {
    (void)state;
    folder_make(folder);
    write_weights();
    write_pictures();
    return 0;
}

static int close_all(void **state) {
    (void)state;
    folder_remove(folder);
    return 0;
}

static bool has_mask(size_t i) {
    return i >= GOOD && i + 1 < IMAGES;
}

static BlemishDataset *data_new(size_t good, size_t defects) {
    Text csv = {0};
    Error e = {0};
    char path[PATH_SIZE];
    text_format(&csv, "path,label,mask,split\n");
    for (size_t i = 0; i < IMAGES; i++) {
        bool defect = i >= GOOD;
        if (defect ? i - GOOD >= defects : i >= good) continue;
        text_format(&csv, has_mask(i) ? "%zu.png,%s,%zu_mask.png,train\n" : "%zu.png,%s,,train\n", i,
                    defect ? "defect" : "good", i);
    }
    text_format(&csv, "0_mask.png,good,,test\n"); /* any picture: training leaves the test split alone */
    assert_ok(atomic_write_file(path_in(path, folder, "set.csv"), csv.data, csv.length, &e), e.text);
    text_free(&csv);
    BlemishDataset *d;
    assert_ok(blemish_dataset_open(&d, path, NULL), blemish_dataset_error(d));
    return d;
}

static BlemishRecipe *recipe_new(void) {
    static const char *const set[][2] = {{"size", "32"}, {"hidden", "64"}, {"epochs", "2"}, {"batch", "4"}};
    BlemishRecipe *r;
    assert_ok(blemish_recipe_new(&r), "");
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        assert_ok(blemish_recipe_set(r, set[i][0], set[i][1]), blemish_recipe_error(r));
    return r;
}

static BlemishTrainSettings settings_new(void) {
    BlemishTrainSettings s;
    blemish_train_defaults(&s);
    s.backbone = "resnet18";
    s.weights = weights;
    s.threads = 2;
    return s;
}

static BlemishModel *train(const BlemishDataset *d) {
    BlemishRecipe *r = recipe_new();
    BlemishTrainSettings s = settings_new();
    BlemishModel *m;
    assert_ok(blemish_train(&m, d, r, &s), blemish_model_error(m));
    blemish_recipe_close(r);
    return m;
}

/* Scores and maps of the training images. */
typedef struct Seen {
    size_t count, pixel_count;
    float scores[IMAGES], peaks[IMAGES], pixels[IMAGES * SIDE * SIDE];
    uint8_t labels[IMAGES], truth[IMAGES * SIDE * SIDE];
} Seen;

static int see(void *user, const BlemishEvaluated *v) {
    Seen *s = user;
    bool defect = v->sample.label == BLEMISH_LABEL_DEFECT;
    s->scores[s->count] = v->result.score;
    s->peaks[s->count] = v->result.map_max;
    s->labels[s->count++] = defect;
    for (size_t i = 0; i < SIDE * SIDE && (v->mask || !defect); i++) {
        s->pixels[s->pixel_count] = v->result.map[i];
        s->truth[s->pixel_count++] = v->mask ? v->mask[i] : 0;
    }
    return 0;
}

static Seen *look(const BlemishModel *m, const BlemishDataset *d) {
    Error e = {0};
    BlemishSession *session;
    BlemishSessionSettings settings = {.threads = 2, .batch = 1};
    BlemishMetrics metrics;
    Seen *s = array_new(1, sizeof *s, &e);
    assert_ok(blemish_session_open(&session, m, &settings), blemish_session_error(session));
    assert_ok(blemish_evaluate(session, d, BLEMISH_SPLIT_TRAIN, &metrics, see, s, NULL, NULL),
              blemish_session_error(session));
    blemish_session_close(session);
    return s;
}

static double f1_at(const float *scores, const uint8_t *labels, size_t n, float threshold) {
    double hits = 0, false_alarms = 0, misses = 0;
    for (size_t i = 0; i < n; i++) {
        bool called = scores[i] >= threshold;
        hits += called && labels[i];
        false_alarms += called && !labels[i];
        misses += !called && labels[i];
    }
    return 2 * hits / (2 * hits + false_alarms + misses);
}

/* No threshold at any score does better. */
static void assert_best(const float *scores, const uint8_t *labels, size_t n, float threshold) {
    double reached = f1_at(scores, labels, n, threshold);
    for (size_t i = 0; i < n; i++) assert_true(f1_at(scores, labels, n, scores[i]) <= reached + 1e-12);
}

static void supervised_models_separate_best(void **state) {
    (void)state;
    BlemishDataset *d = data_new(GOOD, DEFECTS);
    BlemishModel *m = train(d), *back;
    BlemishModelInfo info = blemish_model_info(m);
    assert_string_equal(info.regime, "supervised");
    assert_int_equal(info.height, SIDE);
    assert_non_null(strstr(info.header_json, "\"epochs\":2"));
    assert_non_null(strstr(info.header_json, "\"train\":{\"regime\":\"supervised\""));
    assert_null(strstr(info.header_json, "\"auto\"")); /* what was measured is written down */
    assert_non_null(
        strstr(info.header_json, "\"calibration\":{\"rule\":\"f1\",\"pixel_rule\":\"f1\",\"verdict\":\"score\""));
    assert_non_null(strstr(info.header_json, "\"trained_on\":true"));
    Seen *s = look(m, d);
    assert_int_equal(s->count, IMAGES);
    assert_best(s->scores, s->labels, s->count, info.threshold);
    /* Pixels by every 37th score: all of them would be 8 million comparisons a candidate. */
    double reached = f1_at(s->pixels, s->truth, s->pixel_count, info.pixel_threshold);
    assert_int_equal(s->pixel_count, (IMAGES - 1) * SIDE * SIDE);
    for (size_t i = 0; i < s->pixel_count; i += 37)
        assert_true(f1_at(s->pixels, s->truth, s->pixel_count, s->pixels[i]) <= reached + 1e-12);
    /* The file is the model: the same results, to the bit. */
    char path[PATH_SIZE];
    assert_ok(blemish_model_save(m, path_in(path, folder, "m.blemish")), blemish_model_error(m));
    assert_ok(blemish_model_open(&back, path), blemish_model_error(back));
    assert_string_equal(info.header_json, blemish_model_info(back).header_json);
    Seen *again = look(back, d);
    assert_memory_equal(s->scores, again->scores, sizeof s->scores);
    assert_memory_equal(s->pixels, again->pixels, sizeof s->pixels);
    array_free(s);
    array_free(again);
    blemish_model_close(m);
    blemish_model_close(back);
    blemish_dataset_close(d);
}

static void unsupervised_models_accept_their_images(void **state) {
    (void)state;
    BlemishDataset *d = data_new(GOOD, 0);
    BlemishModel *m = train(d);
    BlemishModelInfo info = blemish_model_info(m);
    assert_string_equal(info.regime, "unsupervised");
    assert_non_null(strstr(info.header_json, "\"rule\":\"above-good\",\"pixel_rule\":\"above-good\""));
    assert_non_null(strstr(info.header_json, "\"margin\":0.05,\"good\":"));
    Seen *s = look(m, d);
    float score = 0, peak = 0;
    for (size_t i = 0; i < s->count; i++) {
        score = fmaxf(score, s->scores[i]);
        peak = fmaxf(peak, s->peaks[i]);
    }
    assert_int_equal(s->count, GOOD);
    assert_true(fabsf(info.threshold - (score + 0.05f * (1 - score))) < 1e-6f);
    assert_true(fabsf(info.pixel_threshold - (peak + 0.05f * (1 - peak))) < 1e-6f);
    array_free(s);
    blemish_model_close(m);
    blemish_dataset_close(d);
}

static void the_same_seed_gives_the_same_file(void **state) {
    (void)state;
    BlemishDataset *d = data_new(GOOD, DEFECTS);
    char path[PATH_SIZE], first[65], second[65];
    Error e = {0};
    for (int i = 0; i < 2; i++) {
        BlemishModel *m = train(d);
        assert_ok(blemish_model_save(m, path_in(path, folder, "same.blemish")), blemish_model_error(m));
        assert_ok(sha256_file(path, i ? second : first, &e), e.text);
        blemish_model_close(m);
    }
    assert_string_equal(first, second);
    blemish_dataset_close(d);
}

/* A model by the recipe with some keys changed. */
typedef const char *Pair[2];
static BlemishModel *train_with(const BlemishDataset *d, const Pair *pairs, size_t count) {
    BlemishRecipe *r = recipe_new();
    BlemishTrainSettings s = settings_new();
    BlemishModel *m;
    for (size_t i = 0; i < count; i++)
        assert_ok(blemish_recipe_set(r, pairs[i][0], pairs[i][1]), blemish_recipe_error(r));
    assert_ok(blemish_train(&m, d, r, &s), blemish_model_error(m));
    blemish_recipe_close(r);
    return m;
}

static bool same_results(const BlemishDataset *d, const Pair *a, const Pair *b, size_t count) {
    BlemishModel *m = train_with(d, a, count), *n = train_with(d, b, count);
    Seen *s = look(m, d), *t = look(n, d);
    const bool same = memcmp(s->pixels, t->pixels, sizeof s->pixels) == 0;
    array_free(s), array_free(t);
    blemish_model_close(m), blemish_model_close(n);
    return same;
}

/* Which numbers a model depends on says where its noise was. */
static void noise_is_where_the_recipe_says(void **state) {
    (void)state;
    static const char *const masks[] = {"perlin", "uniform", "none"};
    BlemishDataset *d = data_new(GOOD, DEFECTS);
    for (size_t i = 0; i < 3; i++) {
        const Pair plain[] = {{"mask", masks[i]}, {"noise_std", "0.1"}, {"perlin_threshold", "0.1"}};
        const Pair louder[] = {{"mask", masks[i]}, {"noise_std", "0.2"}, {"perlin_threshold", "0.1"}};
        const Pair smaller[] = {{"mask", masks[i]}, {"noise_std", "0.1"}, {"perlin_threshold", "0.4"}};
        assert_true(same_results(d, plain, louder, 3) == (i == 2));
        assert_true(same_results(d, plain, smaller, 3) == (i > 0));
    }
    blemish_dataset_close(d);
}

static void switches_are_kept_in_the_model(void **state) {
    (void)state;
    static const Pair pairs[] = {{"model.classification", "0"}, {"model.upscale", "0"}, {"epochs", "3"}};
    BlemishDataset *d = data_new(GOOD, DEFECTS);
    BlemishModel *m = train_with(d, pairs, 3), *back;
    BlemishModelInfo info = blemish_model_info(m);
    assert_int_equal(info.map_height, SIDE / 8);
    assert_int_equal(info.map_width, SIDE / 8);
    char path[PATH_SIZE];
    assert_ok(blemish_model_save(m, path_in(path, folder, "flat.blemish")), blemish_model_error(m));
    assert_ok(blemish_model_open(&back, path), blemish_model_error(back));
    assert_int_equal(blemish_model_info(back).map_height, SIDE / 8);
    Seen *s = look(m, d), *again = look(back, d);
    assert_memory_equal(s->scores, again->scores, sizeof s->scores);
    assert_memory_equal(s->scores, s->peaks, sizeof s->scores); /* the score is the map's maximum */
    assert_memory_equal(s->pixels, again->pixels, sizeof s->pixels);
    assert_best(s->scores, s->labels, s->count, info.threshold);
    array_free(s), array_free(again);
    blemish_model_close(m), blemish_model_close(back);

    /* Without the map's own loss and with stop_grad nothing trains the segmentation head: its weights decay at most. */
    static const Pair idle[] = {{"loss.segmentation", "0"}, {"stop_grad", "1"}, {"head_decay", "0"}};
    const Pair longer[] = {{"loss.segmentation", "0"}, {"stop_grad", "1"}, {"head_decay", "0"}, {"epochs", "3"}};
    static const Pair taught[] = {{"loss.segmentation", "0"}, {"stop_grad", "0"}, {"head_decay", "0"}};
    const Pair *const sets[] = {idle, longer, taught};
    float *weights_of[3];
    for (size_t i = 0; i < 3; i++) {
        BlemishModel *model = train_with(d, sets[i], i == 1 ? 4 : 3);
        Error e = {0};
        TensorFile file;
        assert_ok(blemish_model_save(model, path), blemish_model_error(model));
        assert_ok(tensor_file_open(&file, path, &e), e.text);
        const Tensor *t = tensor_file_find(&file, "heads.seg.out.weight");
        assert_int_equal(t->count, 64);
        weights_of[i] = array_new(t->count, sizeof(float), &e);
        tensor_to_f32(t, weights_of[i]);
        tensor_file_close(&file);
        blemish_model_close(model);
    }
    assert_memory_equal(weights_of[0], weights_of[1], 64 * sizeof(float));
    assert_memory_not_equal(weights_of[0], weights_of[2], 64 * sizeof(float));
    for (size_t i = 0; i < 3; i++) array_free(weights_of[i]);
    blemish_dataset_close(d);
}

typedef struct Tiled {
    size_t count;
    float scores[IMAGES];
    uint8_t labels[IMAGES];
} Tiled;

static int see_tiled(void *user, const BlemishEvaluated *v) {
    Tiled *t = user;
    assert_true(v->result.map_width == 48 && v->result.map_height == 40); /* the image's */
    t->scores[t->count] = v->result.score;
    t->labels[t->count++] = v->sample.label == BLEMISH_LABEL_DEFECT;
    return 0;
}

/* A model that was trained by tiles is judged, calibrated and quantised by tiles, from its file too. */
static void tiles_follow_the_model(void **state) {
    (void)state;
    static const Pair pairs[] = {{"data.tiles", "1"}, {"tile_overlap", "0.5"}};
    char path[PATH_SIZE];
    BlemishDataset *d = data_new(GOOD, DEFECTS);
    BlemishModel *trained = train_with(d, pairs, 2), *m;
    assert_ok(blemish_model_save(trained, path_in(path, folder, "tiled.blemish")), blemish_model_error(trained));
    blemish_model_close(trained);
    assert_ok(blemish_model_open(&m, path), blemish_model_error(m));
    for (int quantised = 0; quantised <= 1; quantised++) {
        const BlemishModelInfo info = blemish_model_info(m);
        assert_true(info.tiles == 1 && info.tile_overlap == 0.5f);
        Tiled seen = {0};
        BlemishMetrics metrics;
        BlemishSession *s;
        assert_ok(blemish_session_open(&s, m, NULL), blemish_session_error(s));
        assert_ok(blemish_evaluate(s, d, BLEMISH_SPLIT_TRAIN, &metrics, see_tiled, &seen, NULL, NULL),
                  blemish_session_error(s));
        assert_int_equal(seen.count, IMAGES);
        if (!quantised) assert_best(seen.scores, seen.labels, seen.count, info.threshold);
        blemish_session_close(s);
        BlemishCalibrateSettings settings;
        BlemishCalibration c;
        blemish_calibrate_defaults(&settings);
        settings.split = BLEMISH_SPLIT_TRAIN;
        settings.verdict = "score";
        assert_ok(blemish_calibrate(m, d, &settings, &c), blemish_model_error(m));
        assert_best(seen.scores, seen.labels, seen.count, c.threshold);
        assert_true(fabs((double)c.pixel_threshold - metrics.pixel_best_f1_threshold) < 1e-7);
        if (!quantised) assert_ok(blemish_model_quantise(m, d, NULL), blemish_model_error(m));
    }
    blemish_model_close(m);
    blemish_dataset_close(d);
}

static void refuse(const BlemishDataset *d, const BlemishRecipe *r, const BlemishTrainSettings *s, BlemishStatus status,
                   const char *part) {
    BlemishModel *m;
    char path[PATH_SIZE];
    BlemishStatus found = blemish_train(&m, d, r, s);
    if (found != status || strstr(blemish_model_error(m), part) == NULL)
        fail_msg("expected %d '%s', found %d '%s'", status, part, found, blemish_model_error(m));
    assert_int_equal(blemish_model_save(m, path_in(path, folder, "refused")), BLEMISH_ERROR_ARGUMENT);
    blemish_model_close(m);
}

typedef struct Stop {
    const char *stage;
} Stop;

static int stop(void *user, const BlemishProgress *p) {
    return strcmp(p->stage, ((Stop *)user)->stage) == 0;
}

static void what_cannot_be_trained_is_named(void **state) {
    (void)state;
    BlemishDataset *all = data_new(GOOD, DEFECTS), *good = data_new(GOOD, 0), *defects = data_new(0, DEFECTS);
    BlemishRecipe *r = recipe_new();
    BlemishTrainSettings s = settings_new();
    refuse(NULL, r, &s, BLEMISH_ERROR_ARGUMENT, "data set");
    refuse(all, NULL, &s, BLEMISH_ERROR_ARGUMENT, "recipe");
    refuse(defects, r, &s, BLEMISH_ERROR_ARGUMENT, "labelled good");
    s.backbone = "resnet50";
    refuse(all, r, &s, BLEMISH_ERROR_FORMAT, "r18.safetensors");
    s.backbone = "vgg";
    refuse(all, r, &s, BLEMISH_ERROR_ARGUMENT, "vgg");
    s = settings_new();
    s.weights = "/nonexistent/weights.pth";
    refuse(all, r, &s, BLEMISH_ERROR_IO, "/nonexistent/weights.pth");
    s.weights = NULL;
    s.backbone = "wide_resnet50_2";
    setenv("BLEMISH_WEIGHTS", folder, 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    refuse(all, r, &s, BLEMISH_ERROR_IO, "blemish weights fetch wide_resnet50_2");
    s = settings_new();
    s.progress = stop;
    const char *const stages[] = {"features", "train", "evaluate"};
    for (size_t i = 0; i < 3; i++) {
        Stop at = {stages[i]};
        s.progress_user = &at;
        refuse(all, r, &s, BLEMISH_ERROR_INTERRUPTED, "stopped");
    }
    s = settings_new();
    assert_ok(blemish_recipe_set(r, "regime", "supervised"), blemish_recipe_error(r));
    refuse(good, r, &s, BLEMISH_ERROR_ARGUMENT, "train.regime: found supervised");
    assert_ok(blemish_recipe_set(r, "segmentation", "0"), blemish_recipe_error(r));
    assert_ok(blemish_recipe_set(r, "classification", "0"), blemish_recipe_error(r));
    refuse(all, r, &s, BLEMISH_ERROR_ARGUMENT, "loss.segmentation: found 0");
    assert_ok(blemish_recipe_set(r, "segmentation", "1"), blemish_recipe_error(r));
    assert_ok(blemish_recipe_set(r, "regime", "auto"), blemish_recipe_error(r));
    assert_ok(blemish_recipe_set(r, "mask", "none"), blemish_recipe_error(r));
    refuse(good, r, &s, BLEMISH_ERROR_ARGUMENT, "anomaly.mask: found none");
    blemish_recipe_close(r);
    blemish_dataset_close(all);
    blemish_dataset_close(good);
    blemish_dataset_close(defects);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(supervised_models_separate_best),
        cmocka_unit_test(unsupervised_models_accept_their_images),
        cmocka_unit_test(the_same_seed_gives_the_same_file),
        cmocka_unit_test(noise_is_where_the_recipe_says),
        cmocka_unit_test(switches_are_kept_in_the_model),
        cmocka_unit_test(what_cannot_be_trained_is_named),
        cmocka_unit_test(tiles_follow_the_model),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
