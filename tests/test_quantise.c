/* blemish_model_quantise: what it refuses, and that a refusal leaves the model as it was; files of quantised models
 * that are damaged or wrong in one place. */
#include "helper_folder.h"
#include "api/api.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEIGHT = 41, WIDTH = 67 }; /* odd, and no multiples of what layers divide by */

/* ---- misuse ---------------------------------------------------------------------------------------------- */

static BlemishModel *model_new(void) {
    BlemishModel *m;
    assert_ok(blemish_model_untrained(&m, "resnet18", NULL, HEIGHT, WIDTH), blemish_model_error(m));
    return m;
}

/* Lines "name,label,,split" of a manifest. */
static BlemishDataset *data_new(const char *lines) {
    char path[PATH_SIZE];
    Text csv = {0};
    Error e = {0};
    BlemishDataset *d;
    text_format(&csv, "path,label,mask,split\n%s", lines);
    assert_ok(atomic_write_file(path_in(path, folder, "set.csv"), csv.data, csv.length, &e), e.text);
    text_free(&csv);
    assert_ok(blemish_dataset_open(&d, path, NULL), blemish_dataset_error(d));
    return d;
}

static void write_picture(const char *name, size_t width, size_t height, int level) {
    char path[PATH_SIZE];
    Error e = {0};
    BlemishImage image;
    picture_make(&image, width, height, 3, 5);
    if (level >= 0) memset(image_pixels(&image), level, image.stride * image.height);
    assert_ok(image_write_png(&image, path_in(path, folder, name), &e), e.text);
    image_free(&image);
}

static BlemishResult run(const BlemishModel *m, const char *precision) {
    BlemishSession *s;
    BlemishImage image;
    BlemishResult r;
    assert_ok(blemish_session_open(&s, m, NULL), blemish_session_error(s));
    assert_string_equal(blemish_session_cost(s).precision, precision);
    picture_make(&image, 70, 50, 3, 9);
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_true(isfinite(r.score) && isfinite(r.map_max));
    blemish_session_close(s);
    image_free(&image);
    return r;
}

/* What a quantised model runs in. */
static const char *integers(void) {
    return engine_has_int8() ? "int8" : "fp32";
}

static void refuse(BlemishModel *m, const BlemishDataset *d, const BlemishQuantiseSettings *s, BlemishStatus status,
                   const char *part) {
    const BlemishStatus found = blemish_model_quantise(m, d, s);
    if (found != status || strstr(blemish_model_error(m), part) == NULL)
        fail_msg("expected %d '%s', found %d '%s'", (int)status, part, (int)found, blemish_model_error(m));
}

static int stop(void *user, const BlemishProgress *p) {
    (void)user;
    return p->done == 1;
}

static void misuse_is_named_and_changes_nothing(void **state) {
    (void)state;
    char path[PATH_SIZE];
    Error e = {0};
    BlemishModel *m = model_new(), *closed;
    BlemishDataset *missing;
    BlemishQuantiseSettings settings;
    write_picture("a.png", 90, 60, -1);
    write_picture("b.png", 33, 120, -1);
    assert_ok(atomic_write_file(path_in(path, folder, "broken.png"), "\x89PNG\r\n\x1a\n....", 12, &e), e.text);
    BlemishDataset *good = data_new("a.png,good,,train\nb.png,good,,train\n"), *test = data_new("a.png,good,,test\n");
    BlemishDataset *broken = data_new("a.png,good,,train\nbroken.png,good,,train\n");
    const BlemishResult before = run(m, "fp32");

    assert_int_equal(blemish_model_quantise(NULL, good, NULL), BLEMISH_ERROR_ARGUMENT);
    refuse(m, NULL, NULL, BLEMISH_ERROR_ARGUMENT, "data set: found none");
    assert_int_equal(blemish_dataset_open(&missing, path_in(path, folder, "none.csv"), NULL), BLEMISH_ERROR_IO);
    refuse(m, missing, NULL, BLEMISH_ERROR_ARGUMENT, "data set: found none, or one that failed to open");
    refuse(m, test, NULL, BLEMISH_ERROR_ARGUMENT, "data set: found no training image");
    refuse(m, broken, NULL, BLEMISH_ERROR_FORMAT, "broken.png: ");
    blemish_quantise_defaults(&settings);
    settings.images = 0;
    refuse(m, good, &settings, BLEMISH_ERROR_ARGUMENT, "images: found 0, expected 1 or more");
    blemish_quantise_defaults(&settings);
    settings.threads = -1;
    refuse(m, good, &settings, BLEMISH_ERROR_ARGUMENT, "threads: found -1");
    blemish_quantise_defaults(&settings);
    settings.progress = stop;
    refuse(m, good, &settings, BLEMISH_ERROR_INTERRUPTED, "stopped while calibrating");
    m->model.heads.icpr = true;
    refuse(m, good, NULL, BLEMISH_ERROR_UNSUPPORTED, "variant: found icpr, expected jims");
    m->model.heads.icpr = false;
    assert_int_equal(blemish_model_open(&closed, path), BLEMISH_ERROR_IO);
    refuse(closed, good, NULL, BLEMISH_ERROR_ARGUMENT, "model: found one that failed to open");
    blemish_model_close(closed);

    const BlemishResult after = run(m, "fp32");
    assert_true(after.score == before.score && after.map_max == before.map_max);
    blemish_quantise_defaults(&settings);
    settings.images = SIZE_MAX; /* all there are */
    assert_ok(blemish_model_quantise(m, good, &settings), blemish_model_error(m));
    refuse(m, good, NULL, BLEMISH_ERROR_ARGUMENT, "model: found a quantised one");
    run(m, integers());
    blemish_model_close(m);
    blemish_dataset_close(good);
    blemish_dataset_close(test);
    blemish_dataset_close(broken);
    blemish_dataset_close(missing);
}

/* Images without any contrast, and one of a single pixel, still give steps to compute with. */
static void plain_images_calibrate(void **state) {
    (void)state;
    write_picture("black.png", 1, 1, 0);
    write_picture("white.png", 50, 50, 255);
    BlemishDataset *d = data_new("black.png,good,,train\nwhite.png,defect,,train\n");
    BlemishModel *m = model_new();
    assert_ok(blemish_model_quantise(m, d, NULL), blemish_model_error(m));
    for (size_t i = 0; i < m->model.trunk.count; i++) {
        const float step = m->model.trunk.convs[i].step;
        assert_true(step > 0 && isfinite(step));
    }
    run(m, integers());
    blemish_model_close(m);
    blemish_dataset_close(d);
}

/* The score is the map's maximum, before and behind the file. */
static void models_without_classification_head_are_quantised(void **state) {
    (void)state;
    char path[PATH_SIZE];
    write_picture("a.png", 90, 60, -1);
    BlemishDataset *d = data_new("a.png,good,,train\n");
    BlemishModel *m = model_new(), *back;
    m->model.heads.map_score = true;
    assert_ok(blemish_model_quantise(m, d, NULL), blemish_model_error(m));
    assert_ok(blemish_model_save(m, path_in(path, folder, "map.blemish")), blemish_model_error(m));
    assert_ok(blemish_model_open(&back, path), blemish_model_error(back));
    const BlemishResult a = run(m, integers()), b = run(back, integers());
    assert_true(a.score == a.map_max && b.score == a.score && b.map_max == a.map_max);
    blemish_model_close(m);
    blemish_model_close(back);
    blemish_dataset_close(d);
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static void write_quantised(char path[PATH_SIZE]) {
    Model m;
    Error e = {0};
    model_make(&m, HEIGHT, WIDTH);
    model_quantise(&m);
    assert_ok(model_write(&m, path_in(path, folder, "good.blemish"), &e), e.text);
    model_close(&m);
}

static void assert_refused(const char *path, const char *part) {
    Error e = {0};
    Model m;
    const BlemishStatus status = model_read(&m, path, &e);
    if (status != BLEMISH_ERROR_FORMAT || strncmp(e.text, path, strlen(path)) != 0 || strstr(e.text, part) == NULL)
        fail_msg("expected '%s: ...%s', found status %d: %s", path, part, (int)status, e.text);
}

static void truncated_files_are_refused(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct stat info;
    write_quantised(path);
    assert_int_equal(stat(path, &info), 0);
    Random r = random_new(17, 0);
    for (off_t length = info.st_size - 1; length > 0;
         length -= 1 + (off_t)random_below(&r, 1 + (uint32_t)length / 16)) {
        assert_int_equal(truncate(path, length), 0);
        assert_refused(path, ": ");
    }
}

static void flip(int fd, off_t at, unsigned bit) {
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* Refused, or a model that still runs: nobody promises what it finds. */
static BlemishStatus read_and_run(const char *path, bool runs) {
    Model m;
    Session s;
    BlemishImage image;
    BlemishResult result;
    Error e = {0};
    const BlemishSessionSettings settings = {.threads = 1, .batch = 1};
    const BlemishStatus status = model_read(&m, path, &e);
    assert_true(status == BLEMISH_OK || status == BLEMISH_ERROR_FORMAT);
    if (status) assert_true(strncmp(e.text, path, strlen(path)) == 0);
    if (status == BLEMISH_OK && runs) {
        picture_make(&image, WIDTH, HEIGHT, 1, 3);
        assert_ok(session_open(&s, &m, &settings, &e), e.text);
        const BlemishStatus ran = session_run(&s, &image, 1, &result, &e);
        assert_true(ran == BLEMISH_OK || (ran == BLEMISH_ERROR_INTERNAL && strstr(e.text, "not finite")));
        session_close(&s);
        image_free(&image);
    }
    model_close(&m);
    return status;
}

static void flipped_bits_do_no_harm(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct stat info;
    write_quantised(path);
    assert_int_equal(stat(path, &info), 0);
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    uint64_t header;
    assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
    Random r = random_new(18, 0);
    enum { HEADER_FLIPS = 80, VALUE_FLIPS = 8 };
    size_t refused = 0;
    for (size_t i = 0; i < HEADER_FLIPS; i++) {
        const off_t at = 8 + (off_t)random_below(&r, (uint32_t)header);
        const unsigned bit = random_below(&r, 8);
        flip(fd, at, bit);
        refused += read_and_run(path, false) != BLEMISH_OK;
        flip(fd, at, bit);
    }
    assert_true(refused > HEADER_FLIPS / 2);
    for (size_t i = 0; i < VALUE_FLIPS; i++) {
        const off_t first = 8 + (off_t)header;
        flip(fd, first + (off_t)random_below(&r, (uint32_t)(info.st_size - first)), random_below(&r, 8));
        read_and_run(path, i % 4 == 3); /* they add up */
    }
    close(fd);
}

/* The good file with one tensor replaced, or left out where its rank is above TENSOR_RANK_MAX, and another, unless it
 * is NULL, added. */
static void write_variant(const TensorFile *good, const char *path, const Tensor *changed, const Tensor *added) {
    static const char *const keys[] = {"format",          "format_version",   "program_version", "backbone",
                                       "variant",         "regime",           "height",          "width",
                                       "hidden",          "align_corners",    "feature_scale",   "threshold",
                                       "pixel_threshold", "data_fingerprint", "precision"};
    enum { KEYS = sizeof keys / sizeof *keys };
    MetadataEntry entries[KEYS];
    Error e = {0};
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++) entries[i] = (MetadataEntry){keys[i], tensor_file_metadata(good, keys[i], &e)};
    Tensor *list = array_new(good->count + 1, sizeof *list, &e);
    for (size_t i = 0; i < good->count; i++) {
        const bool replaced = strcmp(changed->name, good->tensors[i].name) == 0;
        if (!replaced || changed->rank <= TENSOR_RANK_MAX) list[count++] = replaced ? *changed : good->tensors[i];
    }
    if (added) list[count++] = *added;
    assert_ok(safetensors_write(path, list, count, entries, KEYS, &e), e.text);
    for (size_t i = 0; i < KEYS; i++) free((void *)(uintptr_t)entries[i].value);
    array_free(list);
}

static void tensors_are_checked(void **state) {
    (void)state;
    static const char *const names[] = {"backbone.conv1.weight",
                                        "backbone.conv1.step",
                                        "backbone.layer1.0.conv1.weight",
                                        "backbone.layer1.0.conv1.scale",
                                        "backbone.layer3.1.conv2.step",
                                        "heads.seg.mix2",
                                        "heads.seg.mix3.scale",
                                        "heads.cls.mix2.scale",
                                        "heads.cls.mix3",
                                        "heads.cls.map"};
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    char path[PATH_SIZE], variant[PATH_SIZE];
    Error e = {0};
    TensorFile good;
    write_quantised(path);
    assert_ok(tensor_file_open(&good, path, &e), e.text);
    path_in(variant, folder, "variant.blemish");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const Tensor *t = tensor_file_find(&good, names[i]);
        assert_non_null(t);
        Tensor changed = *t;
        changed.rank = TENSOR_RANK_MAX + 1; /* left out */
        write_variant(&good, variant, &changed, NULL);
        assert_refused(variant, names[i]);
        changed = *t;
        changed.shape[changed.rank++] = 1;
        write_variant(&good, variant, &changed, NULL);
        assert_refused(variant, names[i]);
        if (t->type != TENSOR_F32) continue;
        float *values = array_new(t->count, sizeof *values, &e);
        tensor_to_f32(t, values);
        changed = *t;
        changed.data = values;
        const bool scale = strstr(names[i], "scale") != NULL, step = strstr(names[i], "step") != NULL;
        for (size_t k = 0; k < 3 + (size_t)scale; k++) { /* the last: finite, but not times a weight */
            values[t->count / 2] = bad[k];
            write_variant(&good, variant, &changed, NULL);
            assert_refused(variant, "not finite");
        }
        for (int k = 0; k < 2 && step; k++) {
            values[0] = k ? -1.0f : 0.0f;
            write_variant(&good, variant, &changed, NULL);
            assert_refused(variant, "expected a positive number");
        }
        array_free(values);
    }
    tensor_file_close(&good);
}

/* Before the first convolution's weights stayed floats they were integers like all others. */
static void older_files_still_run(void **state) {
    (void)state;
    char path[PATH_SIZE], older[PATH_SIZE];
    Error e = {0};
    TensorFile good;
    BlemishModel *m[2];
    write_quantised(path);
    assert_ok(tensor_file_open(&good, path, &e), e.text);
    const Tensor *t = tensor_file_find(&good, "backbone.conv1.weight");
    const size_t rows = t->shape[0], per = t->count / rows;
    float *plain = array_new(t->count, sizeof *plain, &e), *scale = array_new(rows, sizeof *scale, &e);
    int8_t *rounded = array_new(t->count, 1, &e);
    tensor_to_f32(t, plain);
    quantise_rows(plain, rows, per, per, rounded, scale);
    Tensor integers_ = *t, scales = {.name = "backbone.conv1.scale",
                                     .type = TENSOR_F32,
                                     .rank = 1,
                                     .shape = {rows},
                                     .count = rows,
                                     .data = scale};
    integers_.type = TENSOR_I8;
    integers_.data = rounded;
    write_variant(&good, path_in(older, folder, "older.blemish"), &integers_, &scales);
    assert_ok(blemish_model_open(&m[0], path), blemish_model_error(m[0]));
    assert_ok(blemish_model_open(&m[1], older), blemish_model_error(m[1]));
    const BlemishResult now = run(m[0], integers()), before = run(m[1], integers());
    assert_true(now.score != before.score || now.map_max != before.map_max);
    /* as far as int8 may be from fp32 in test_int8.c */
    assert_true(fabsf(now.score - before.score) < 0.03f && fabsf(now.map_max - before.map_max) < 0.03f);
    write_variant(&good, older, &integers_, NULL);
    assert_refused(older, "backbone.conv1.scale");
    for (int i = 0; i < 2; i++) blemish_model_close(m[i]);
    array_free(plain), array_free(scale), array_free(rounded);
    tensor_file_close(&good);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse_is_named_and_changes_nothing),
        cmocka_unit_test(plain_images_calibrate),
        cmocka_unit_test(models_without_classification_head_are_quantised),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(flipped_bits_do_no_harm),
        cmocka_unit_test(tensors_are_checked),
        cmocka_unit_test(older_files_still_run),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
