#include "helper_folder.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WEIGHTS_SHA256 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* A model in which every field differs from a new one's. */
static void special_model(Model *m) {
    Error e = {0};
    model_make(m, 88, 232);
    Random r = random_new(3, 0);
    for (size_t i = 0; i < m->heads.params.total; i++) m->heads.params.all[i] += 0.01f * random_normal(&r);
    m->heads.icpr = true;
    m->heads.map_score = true;
    geometry_at_layer2(&m->geometry);
    m->heads.feature_scale = 0.1f;
    m->align_corners = false;
    m->threshold = 0.3f;
    m->pixel_threshold = 1.0f / 3.0f;
    m->min_area = 12;
    m->border = 7;
    m->roi = array_new(88 * 232, 1, &e);
    assert_non_null(m->roi);
    for (size_t i = 0; i < 88 * 232; i++) m->roi[i] = random_below(&r, 3) > 0;
    snprintf(m->regime, sizeof m->regime, "supervised");
    memset(m->fingerprint, 'a', 64);
    snprintf(m->weights_sha256, sizeof m->weights_sha256, WEIGHTS_SHA256);
    m->recipe_json = text_copy("{\"epochs\":5}", &e);
    m->metrics_json = text_copy("{\"i_auroc\":0.98}", &e);
    assert_ok(model_header(m, &e), e.text);
}

static void assert_same_floats(const float *a, const float *b, size_t n) {
    assert_memory_equal(a, b, n * sizeof *a);
}

static void everything_survives_the_file(void **state) {
    (void)state;
    Error e = {0};
    Model a, b;
    char path[PATH_SIZE], again[PATH_SIZE];
    special_model(&a);
    assert_ok(model_write(&a, path_in(path, folder, "a.blemish"), &e), e.text);
    assert_ok(model_read(&b, path, &e), e.text);
    assert_string_equal(a.header_json, b.header_json);
    assert_string_equal(b.trunk.backbone, "resnet18");
    assert_int_equal(a.trunk.count, b.trunk.count);
    assert_null(b.trunk.convs[0].weight); /* still in the file */
    for (size_t i = 0; i < a.trunk.count; i++) {
        const TrunkConv *x = &a.trunk.convs[i], *y = &b.trunk.convs[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->stride, y->stride);
        float *read;
        const float *weight = trunk_weight(&b.trunk, y, &read, &e);
        assert_non_null(weight);
        assert_same_floats(x->weight, weight, x->out * x->in * x->kernel * x->kernel);
        array_free(read);
        assert_same_floats(x->bias, y->bias, x->out);
    }
    assert_int_equal(a.heads.params.total, b.heads.params.total);
    assert_same_floats(a.heads.params.all, b.heads.params.all, a.heads.params.total);
    assert_same_floats(a.heads.stats.seg_mean, b.heads.stats.seg_mean, LIFT_BLOCK);
    assert_same_floats(a.heads.stats.seg_var, b.heads.stats.seg_var, LIFT_BLOCK);
    assert_same_floats(a.heads.stats.cls_mean, b.heads.stats.cls_mean, CLS_CHANNELS);
    assert_same_floats(a.heads.stats.cls_var, b.heads.stats.cls_var, CLS_CHANNELS);
    assert_memory_equal(&a.geometry, &b.geometry, sizeof a.geometry);
    assert_true(b.heads.map_score && b.geometry.h == b.geometry.h2);
    assert_true(b.heads.icpr && b.heads.feature_scale == 0.1f && !b.align_corners);
    assert_true(b.threshold == 0.3f && b.pixel_threshold == 1.0f / 3.0f);
    assert_true(b.min_area == 12 && b.border == 7);
    assert_memory_equal(a.roi, b.roi, 88 * 232);
    assert_string_equal(b.regime, "supervised");
    assert_string_equal(b.fingerprint, a.fingerprint);
    assert_string_equal(b.weights_sha256, WEIGHTS_SHA256);
    assert_string_equal(b.recipe_json, a.recipe_json);
    assert_string_equal(b.metrics_json, a.metrics_json);

    /* What was read writes the same bytes. */
    char first[65], second[65];
    assert_ok(model_write(&b, path_in(again, folder, "b.blemish"), &e), e.text);
    assert_ok(sha256_file(path, first, &e), e.text);
    assert_ok(sha256_file(again, second, &e), e.text);
    assert_string_equal(first, second);
    assert_int_equal(folder_count(folder), 2);
    model_close(&a);
    model_close(&b);
}

static void header_is_one_json_object(void **state) {
    (void)state;
    Model m;
    Error e = {0};
    special_model(&m);
    json_t *o = json_loads(m.header_json, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_null(strchr(m.header_json, '\n'));
    assert_string_equal(json_string_value(json_object_get(o, "format")), "blemish-model");
    assert_int_equal(json_integer_value(json_object_get(o, "format_version")), 2);
    assert_int_equal(json_integer_value(json_object_get(o, "min_area")), 12);
    assert_int_equal(json_integer_value(json_object_get(o, "border")), 7);
    assert_string_equal(json_string_value(json_object_get(o, "program_version")), BLEMISH_VERSION);
    assert_string_equal(json_string_value(json_object_get(o, "variant")), "icpr");
    assert_int_equal(json_integer_value(json_object_get(o, "height")), 88);
    assert_int_equal(json_integer_value(json_object_get(o, "width")), 232);
    assert_true(json_is_false(json_object_get(o, "align_corners")));
    assert_true(json_real_value(json_object_get(o, "feature_scale")) == 0.1);
    assert_true(json_real_value(json_object_get(o, "threshold")) == 0.3);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "recipe"), "epochs")), 5);
    assert_true(json_real_value(json_object_get(json_object_get(o, "metrics"), "i_auroc")) == 0.98);
    json_decref(o);
    free(m.recipe_json);
    m.recipe_json = NULL;
    assert_ok(model_header(&m, &e), e.text);
    o = json_loads(m.header_json, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_null(json_object_get(o, "recipe")));
    json_decref(o);
    model_close(&m);
}

/* ---- files that are wrong in one place ------------------------------------------------------------------- */

static const char *const keys[] = {
    "format",        "format_version", "program_version", "backbone",         "variant",
    "regime",        "height",         "width",           "hidden",           "align_corners",
    "feature_scale", "threshold",      "pixel_threshold", "data_fingerprint", "recipe",
    "metrics",       "upscale",        "classification",  "min_area",         "border",
    "roi",           "weights_sha256"};
enum { KEYS = sizeof keys / sizeof keys[0] };

/* The good file with one key's value replaced (NULL: left out), and one tensor replaced (tensor's name, or left out
 * where its rank is 9). */
static void write_variant(const TensorFile *good, const char *path, const char *key, const char *value,
                          const Tensor *tensor) {
    Error e = {0};
    MetadataEntry entries[KEYS];
    char *owned[KEYS];
    size_t count = 0, owners = 0, tensors = 0;
    for (size_t i = 0; i < KEYS; i++) {
        char *text = owned[owners++] = tensor_file_metadata(good, keys[i], &e);
        assert_non_null(text);
        bool replaced = key && strcmp(keys[i], key) == 0;
        if (!replaced || value) entries[count++] = (MetadataEntry){keys[i], replaced ? value : text};
    }
    Tensor *list = array_new(good->count, sizeof *list, &e);
    for (size_t i = 0; i < good->count; i++) {
        bool replaced = tensor && strcmp(tensor->name, good->tensors[i].name) == 0;
        if (!replaced || tensor->rank <= TENSOR_RANK_MAX) list[tensors++] = replaced ? *tensor : good->tensors[i];
    }
    assert_ok(safetensors_write(path, list, tensors, entries, count, &e), e.text);
    for (size_t i = 0; i < owners; i++) free(owned[i]);
    array_free(list);
}

static void assert_refused(const char *path, const char *part) {
    Error e = {0};
    Model m;
    BlemishStatus status = model_read(&m, path, &e);
    if (status != BLEMISH_ERROR_FORMAT) fail_msg("expected '%s', got status %d: %s", part, (int)status, e.text);
    if (strncmp(e.text, path, strlen(path)) != 0 || strstr(e.text, part) == NULL)
        fail_msg("expected '%s: ...%s', found '%s'", path, part, e.text);
    assert_null(m.header_json);
    assert_int_equal(m.trunk.count, 0);
}

static void good_file(char path[PATH_SIZE], TensorFile *file) {
    Error e = {0};
    Model m;
    special_model(&m);
    assert_ok(model_write(&m, path_in(path, folder, "good.blemish"), &e), e.text);
    model_close(&m);
    assert_ok(tensor_file_open(file, path, &e), e.text);
}

static void every_field_is_checked(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *part;
    } cases[] = {
        {"format", "onnx", "format: found 'onnx', expected blemish-model"},
        {"format_version", "3", "format_version: found '3', expected one of 1, 2"},
        {"backbone", "resnet101", "backbone: found 'resnet101', expected one of "},
        {"backbone", "", "backbone: found '', expected one of "},
        {"backbone", "resnet50", "backbone."}, /* its tensors are not there */
        {"variant", "JIMS", "variant: found 'JIMS', expected one of jims, icpr"},
        {"regime", "weak", "regime: found 'weak', expected one of none, unsupervised, supervised"},
        {"program_version", "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0", "program_version: found '"},
        {"height", "31", "height: found '31', expected a whole number from 32 to 16384"},
        {"height", "88.5", "height: found '88.5'"},
        {"height", "-88", "height: found '-88'"},
        {"width", "99999999999999999999", "width: found '99999999999999999999'"},
        {"width", "", "width: found ''"},
        {"width", " 88", "width: found ' 88'"},
        {"hidden", "100", "hidden: found 100, expected a multiple of 64"},
        {"hidden", "128", "heads."}, /* not the tensors' width */
        {"hidden", "18446744073709551615", "hidden: found '18446744073709551615'"},
        {"align_corners", "1", "align_corners: found '1', expected one of false, true"},
        {"feature_scale", "0", "feature_scale: found '0', expected a number from 1e-06 to 1e+06"},
        {"feature_scale", "nan", "feature_scale: found 'nan'"},
        {"feature_scale", "inf", "feature_scale: found 'inf'"},
        {"threshold", "1.5", "threshold: found '1.5', expected a number from 0 to 1"},
        {"threshold", "0,5", "threshold: found '0,5'"},
        {"pixel_threshold", "-0.1", "pixel_threshold: found '-0.1'"},
        {"data_fingerprint", "abc", "data_fingerprint: found 'abc', expected 64 hexadecimal digits or nothing"},
        {"weights_sha256", "abc", "weights_sha256: found 'abc', expected 64 hexadecimal digits or nothing"},
        {"upscale", "0", "upscale: found '0', expected one of false, true"},
        {"upscale", "", "upscale: found '', expected one of false, true"},
        {"classification", "no", "classification: found 'no', expected one of false, true"},
        {"min_area", "-1", "min_area: found '-1', expected a whole number from 0 to 268435456"},
        {"min_area", "268435457", "min_area: found '268435457'"},
        {"min_area", "", "min_area: found ''"},
        {"min_area", "nan", "min_area: found 'nan'"},
        {"border", "65501", "border: found '65501', expected a whole number from 0 to 65500"},
        {"border", "1.5", "border: found '1.5'"},
        {"border", "99999999999999999999", "border: found '99999999999999999999'"},
        {"roi", "1", "roi: found '1', expected one of false, true"},
        {"recipe", "{", "recipe: found '{', expected a JSON object"},
        {"recipe", "[1]", "recipe: found '[1]'"},
        {"recipe", "{\"a\":1,\"a\":2}", "recipe: found '"},
        {"recipe", "{\"a\":NaN}", "recipe: found '"},
        {"metrics", "1", "metrics: found '1', expected a JSON object"},
        {"metrics", "\x1b[31m\n", "metrics: found '?[31m?'"},
    };
    char path[PATH_SIZE], bad[PATH_SIZE], part[128];
    TensorFile good;
    good_file(path, &good);
    path_in(bad, folder, "bad.blemish");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_variant(&good, bad, cases[i].key, cases[i].value, NULL);
        assert_refused(bad, cases[i].part);
    }
    for (size_t i = 0; i < KEYS; i++) {
        write_variant(&good, bad, keys[i], NULL, NULL);
        const bool upscale = strcmp(keys[i], "upscale") == 0, classification = strcmp(keys[i], "classification") == 0;
        /* An untrained model has neither of the two, and older files have no switches, which were on, and no rules. */
        const bool area = strcmp(keys[i], "min_area") == 0, border = strcmp(keys[i], "border") == 0;
        const bool roi = strcmp(keys[i], "roi") == 0, weights = strcmp(keys[i], "weights_sha256") == 0;
        if (upscale || classification || area || border || roi || weights || strcmp(keys[i], "recipe") == 0 ||
            strcmp(keys[i], "metrics") == 0) {
            Model m;
            Error e = {0};
            assert_ok(model_read(&m, bad, &e), e.text);
            assert_int_equal(m.geometry.h, (upscale ? 2 : 1) * m.geometry.h2);
            assert_true(m.heads.map_score != classification);
            assert_true(m.min_area == (area ? 0 : 12) && m.border == (border ? 0 : 7));
            assert_true((m.roi == NULL) == roi);
            assert_string_equal(m.weights_sha256, weights ? "" : WEIGHTS_SHA256);
            model_close(&m);
            continue;
        }
        snprintf(part, sizeof part, "%s: found nothing, expected", keys[i]);
        assert_refused(bad, part);
    }
    /* A recipe on several lines still gives a header on one. */
    write_variant(&good, bad, "recipe", "{\n\t\"a\": 1\r\n}", NULL);
    Model m;
    Error e = {0};
    assert_ok(model_read(&m, bad, &e), e.text);
    assert_null(strpbrk(m.header_json, "\n\r\t"));
    json_t *header = json_loads(m.header_json, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(header, "recipe"), "a")), 1);
    json_decref(header);
    model_close(&m);
    tensor_file_close(&good);
}

/* Either rule alone needs a program that knows it. */
static void rules_raise_the_version(void **state) {
    (void)state;
    static const struct {
        size_t min_area, border;
        bool roi;
        const char *version;
    } cases[] = {{0, 0, false, "1"},
                 {1, 0, false, "2"},
                 {0, 1, false, "2"},
                 {0, 0, true, "2"},
                 {BLEMISH_MIN_AREA_MAX, BLEMISH_BORDER_MAX, true, "2"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Error e = {0};
        Model m;
        TensorFile file;
        char path[PATH_SIZE];
        special_model(&m);
        m.min_area = cases[i].min_area;
        m.border = cases[i].border;
        if (!cases[i].roi) array_free(m.roi), m.roi = NULL;
        assert_ok(model_write(&m, path_in(path, folder, "rules.blemish"), &e), e.text);
        model_close(&m);
        assert_ok(tensor_file_open(&file, path, &e), e.text);
        char *version = tensor_file_metadata(&file, "format_version", &e);
        assert_string_equal(version, cases[i].version);
        free(version);
        tensor_file_close(&file);
        assert_ok(model_read(&m, path, &e), e.text);
        assert_true(m.min_area == cases[i].min_area && m.border == cases[i].border);
        assert_true((m.roi != NULL) == cases[i].roi);
        model_close(&m);
    }
}

/* Each side is allowed, their product would take gigabytes. */
static void pixels_are_bounded(void **state) {
    (void)state;
    Error e = {0};
    char path[PATH_SIZE];
    Model m;
    special_model(&m);
    array_free(m.roi);
    m.roi = NULL;
    m.geometry.height = 4096;
    m.geometry.width = 4097;
    assert_ok(model_write(&m, path_in(path, folder, "large.blemish"), &e), e.text);
    model_close(&m);
    assert_refused(path, "height x width: found 4096 x 4097, expected at most 16777216 pixels");
}

static void every_tensor_is_checked(void **state) {
    (void)state;
    static const char *const names[] = {"backbone.conv1.weight", "backbone.layer3.1.conv2.bias",
                                        "heads.adaptor.weight",  "heads.seg.bn.running_var",
                                        "heads.cls.conv.weight", "heads.cls.fc.bias"};
    static const float bad_values[] = {NAN, INFINITY, -INFINITY};
    Error e = {0};
    char path[PATH_SIZE], bad[PATH_SIZE];
    TensorFile good;
    good_file(path, &good);
    path_in(bad, folder, "bad.blemish");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const Tensor *t = tensor_file_find(&good, names[i]);
        assert_non_null(t);
        Tensor changed = *t;
        changed.rank = TENSOR_RANK_MAX + 1; /* left out */
        write_variant(&good, bad, NULL, NULL, &changed);
        assert_refused(bad, names[i]);

        float *values = array_new(t->count, sizeof *values, &e);
        tensor_to_f32(t, values);
        values[t->count / 2] = bad_values[i % 3];
        changed = *t;
        changed.data = values;
        write_variant(&good, bad, NULL, NULL, &changed);
        assert_refused(bad, names[i]);
        array_free(values);

        changed = *t; /* as many values in another shape */
        changed.rank = t->rank + 1;
        changed.shape[t->rank] = 1;
        write_variant(&good, bad, NULL, NULL, &changed);
        assert_refused(bad, names[i]);
    }
    const Tensor *variance = tensor_file_find(&good, "heads.seg.bn.running_var");
    float negative[LIFT_BLOCK] = {0};
    negative[5] = -1;
    Tensor changed = *variance;
    changed.data = negative;
    write_variant(&good, bad, NULL, NULL, &changed);
    assert_refused(bad, "heads.seg.bn.running_var");
    tensor_file_close(&good);
}

static void a_region_of_interest_is_checked(void **state) {
    (void)state;
    Error e = {0};
    char path[PATH_SIZE], bad[PATH_SIZE];
    TensorFile good;
    Model m;
    good_file(path, &good);
    path_in(bad, folder, "bad.blemish");
    const Tensor *t = tensor_file_find(&good, "roi");
    assert_true(t && t->type == TENSOR_U8 && t->rank == 2 && t->shape[0] == 88 && t->shape[1] == 232);
    uint8_t *values = array_new(t->count, sizeof(float), &e);
    Tensor changed = *t;
    changed.data = values;
    write_variant(&good, bad, NULL, NULL, &changed);
    assert_refused(bad, "roi: found zeros only");
    values[88 * 232 - 1] = 1;
    write_variant(&good, bad, NULL, NULL, &changed);
    assert_ok(model_read(&m, bad, &e), e.text);
    assert_memory_equal(m.roi, values, t->count);
    model_close(&m);
    values[77] = 2;
    write_variant(&good, bad, NULL, NULL, &changed);
    assert_refused(bad, "roi: found 2 at 77, expected 0 or 1");
    changed.type = TENSOR_F32;
    write_variant(&good, bad, NULL, NULL, &changed);
    assert_refused(bad, "roi: found another type of numbers, expected U8");
    changed = *t;
    changed.shape[0] = 44, changed.shape[1] = 464;
    write_variant(&good, bad, NULL, NULL, &changed);
    assert_refused(bad, "roi: found shape [44, 464], expected [88, 232]");
    changed.rank = TENSOR_RANK_MAX + 1; /* left out */
    write_variant(&good, bad, NULL, NULL, &changed);
    assert_refused(bad, "roi");
    array_free(values);
    tensor_file_close(&good);
    special_model(&m);
    m.tiles = true;
    assert_ok(model_write(&m, path_in(bad, folder, "tiles.blemish"), &e), e.text);
    model_close(&m);
    assert_refused(bad, "roi: found true, expected false in a model by tiles");
}

/* ---- damaged files --------------------------------------------------------------------------------------- */

static void truncated_files_are_refused(void **state) {
    (void)state;
    char path[PATH_SIZE];
    TensorFile good;
    good_file(path, &good);
    tensor_file_close(&good);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    Random r = random_new(17, 0);
    for (off_t length = info.st_size - 1; length > 0;
         length -= 1 + (off_t)random_below(&r, 1 + (uint32_t)length / 16)) {
        assert_int_equal(truncate(path, length), 0);
        assert_refused(path, ": ");
    }
    assert_int_equal(truncate(path, 0), 0);
    assert_refused(path, ": ");
}

/* A flip in the header is refused or gives a model that differs where the bit was; never anything worse. */
static void flipped_bits_do_no_harm(void **state) {
    (void)state;
    char path[PATH_SIZE];
    TensorFile good;
    good_file(path, &good);
    tensor_file_close(&good);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    uint64_t header;
    assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
    Random r = random_new(18, 0);
    size_t refused = 0;
    enum { FLIPS = 300 };
    for (int i = 0; i < FLIPS; i++) {
        off_t at = i < 64 ? i / 8 : 8 + (off_t)random_below(&r, (uint32_t)header);
        uint8_t byte, flipped;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        flipped = (uint8_t)(byte ^ (1u << (i < 64 ? (uint32_t)i % 8 : random_below(&r, 8))));
        assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
        Model m;
        Error e = {0};
        BlemishStatus status = model_read(&m, path, &e);
        assert_true(status == BLEMISH_OK || status == BLEMISH_ERROR_FORMAT);
        if (status != BLEMISH_OK) {
            assert_true(strncmp(e.text, path, strlen(path)) == 0);
            refused++;
        }
        model_close(&m);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    assert_true(refused > FLIPS / 2);
}

static void absent_files_are_named(void **state) {
    (void)state;
    Model m;
    Error e = {0};
    char path[PATH_SIZE];
    assert_int_equal(model_read(&m, path_in(path, folder, "absent.blemish"), &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, "absent.blemish"));
}

static void failed_writes_leave_nothing(void **state) {
    (void)state;
    Model m;
    Error e = {0};
    char path[PATH_SIZE];
    model_make(&m, 32, 32);
    size_t before = folder_count(folder);
    assert_int_equal(model_write(&m, path_in(path, folder, "absent/m.blemish"), &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, "absent/m.blemish"));
    assert_int_equal(model_write(&m, folder, &e), BLEMISH_ERROR_IO);
    assert_int_equal(folder_count(folder), before);
    model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_survives_the_file, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(header_is_one_json_object, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(every_field_is_checked, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(rules_raise_the_version, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(pixels_are_bounded, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(every_tensor_is_checked, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(a_region_of_interest_is_checked, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(truncated_files_are_refused, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(flipped_bits_do_no_harm, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(absent_files_are_named, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(failed_writes_leave_nothing, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
