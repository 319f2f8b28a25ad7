/* The backbone that is compiled in: its bytes are the file's, it is read without a file, and only where it is trained
 * on. */
#include "helper_model.h"
#include "store/store.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_PATH BLEMISH_SOURCE_DIR "/models/builtin.safetensors"

enum { SIDE = 64 };

static char folder[PATH_SIZE], model_path[PATH_SIZE];

static const uint8_t *weights(size_t *length) {
    const EmbeddedWeights *w = embedded_weights(0);
    *length = (size_t)(w->end - w->bytes);
    return w->bytes;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

/* Pages of the weights that are in this process's memory, of how many. */
static size_t pages_present(size_t *of) {
    size_t length, present = 0;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)weights(&length) / page;
    const size_t count = length / page;
    const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < count; i++) {
        uint64_t entry;
        assert_int_equal(pread(fd, &entry, sizeof entry, (off_t)((start + i) * sizeof entry)), sizeof entry);
        present += entry >> 63;
    }
    close(fd);
    *of = count;
    return present;
}

/* Another process makes the model, so that this one's memory shows what reading it touches. */
static int make_model(void **state) {
    (void)state;
    folder_make(folder);
    path_in(model_path, folder, "m.blemish");
    const pid_t child = fork();
    if (child == 0) {
        BlemishModel *m;
        const bool made =
            !blemish_model_untrained(&m, "builtin", NULL, SIDE, SIDE) && !blemish_model_save(m, model_path);
        _exit(made ? 0 : 1);
    }
    int status;
    return child < 0 || waitpid(child, &status, 0) != child || status ? -1 : 0;
}

static int remove_model(void **state) {
    (void)state;
    folder_remove(folder);
    return 0;
}

static void predicting_does_not_touch_the_weights(void **state) {
    (void)state;
    BlemishModel *m;
    BlemishSession *s;
    BlemishResult result;
    BlemishImage image;
    BlemishSessionSettings settings;
    size_t count;
    blemish_session_defaults(&settings);
    settings.threads = 1;
    picture_make(&image, SIDE, SIDE, 3, 1);
    assert_ok(blemish_model_open(&m, model_path), blemish_model_error(m));
    assert_string_equal(blemish_model_info(m).backbone, "builtin");
    assert_ok(blemish_session_open(&s, m, &settings), blemish_session_error(s));
    assert_ok(blemish_session_run(s, &image, 1, &result), blemish_session_error(s));
    blemish_session_close(s);
    blemish_model_close(m);
    image_free(&image);
    /* Linux may bring in neighbours of a page that is touched. */
    const size_t after = pages_present(&count);
    assert_true(count > 1000);
    if (after > count / 20) fail_msg("predicting read %zu of %zu pages", after, count);
    assert_ok(blemish_model_untrained(&m, "builtin", NULL, SIDE, SIDE), blemish_model_error(m));
    blemish_model_close(m);
    assert_true(pages_present(&count) > count * 9 / 10); /* it would have been seen */
}

/* ---- bytes ----------------------------------------------------------------------------------------------- */

static void the_bytes_are_the_files(void **state) {
    (void)state;
    size_t length;
    const uint8_t *bytes = weights(&length);
    char sha256[65];
    Error e = {0};
    FILE *f = fopen(FILE_PATH, "rb");
    assert_non_null(f);
    uint8_t *read = malloc(length + 1);
    assert_int_equal(fread(read, 1, length + 1, f), length);
    fclose(f);
    assert_memory_equal(read, bytes, length);
    free(read);
    assert_ok(sha256_file(FILE_PATH, sha256, &e), e.text);
    assert_string_equal(sha256, embedded_weights(0)->known.sha256_prefix);
    assert_null(embedded_weights(1));
    assert_in_range(length, 1, 6000000); /* what a library may grow by */
}

static void they_read_as_the_file_does(void **state) {
    (void)state;
    size_t length;
    const uint8_t *bytes = weights(&length);
    TensorFile file, memory;
    Trunk a, b;
    Error e = {0};
    char sha256[65];
    assert_ok(tensor_file_open(&file, FILE_PATH, &e), e.text);
    assert_ok(weights_open(&memory, "builtin", NULL, sha256, &e), e.text);
    assert_string_equal(sha256, embedded_weights(0)->known.sha256_prefix);
    assert_int_equal(memory.count, file.count);
    assert_int_equal(file.count, trunk_tensors("builtin", NULL, 0)); /* and nothing else */
    assert_string_equal(memory.metadata, file.metadata);
    for (size_t i = 0; i < file.count; i++) {
        const Tensor *x = &file.tensors[i], *y = &memory.tensors[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->rank, y->rank);
        assert_memory_equal(x->shape, y->shape, x->rank * sizeof *x->shape);
        assert_true((const uint8_t *)y->data >= bytes && (const uint8_t *)y->data < bytes + length); /* not copied */
        float *u = array_new(x->count, sizeof *u, &e), *v = array_new(x->count, sizeof *v, &e);
        assert_ok(tensor_file_floats(&file, x, u, &e), e.text);
        assert_ok(tensor_file_floats(&memory, y, v, &e), e.text);
        assert_memory_equal(u, v, x->count * sizeof *u);
        array_free(u), array_free(v);
    }
    assert_string_equal(trunk_recognise(&file), "resnet18");
    assert_ok(trunk_load(&a, "resnet18", &file, &e), e.text);
    assert_ok(trunk_load(&b, "builtin", &memory, &e), e.text);
    assert_string_equal(b.backbone, "builtin");
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        const TrunkConv *x = &a.convs[i], *y = &b.convs[i];
        assert_memory_equal(x->weight, y->weight, x->out * x->in * x->kernel * x->kernel * sizeof(float));
        assert_memory_equal(x->bias, y->bias, x->out * sizeof(float));
        assert_int_equal(x->stride, y->stride);
    }
    trunk_close(&a), trunk_close(&b);
    tensor_file_close(&file), tensor_file_close(&memory);
}

/* Every truncation, in memory of exactly that size, and every flipped bit: refused or read as far as it is there. */
static void damaged_bytes_are_refused(void **state) {
    (void)state;
    char path[PATH_SIZE];
    const float values[4] = {1, 2, 3, 4};
    const uint16_t halves[3] = {0x3c00, 0x0001, 0xfbff};
    const Tensor tensors[2] = {{"a", TENSOR_F32, 2, {2, 2}, values, 4}, {"b", TENSOR_F16, 1, {3}, halves, 3}};
    const MetadataEntry metadata = {"name", "x"};
    Error e = {0};
    TensorFile f;
    float out[4];
    assert_ok(safetensors_write(path_in(path, folder, "small"), tensors, 2, &metadata, 1, &e), e.text);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t whole[1024];
    const size_t length = fread(whole, 1, sizeof whole, file);
    fclose(file);
    assert_in_range(length, 64, sizeof whole - 1);
    for (size_t n = 0; n < length; n++) {
        uint8_t *part = malloc(n ? n : 1);
        memcpy(part, whole, n);
        assert_true(tensor_file_open_bytes(&f, "part", part, n, &e) == BLEMISH_ERROR_FORMAT);
        assert_int_equal(strncmp(e.text, "part: ", 6), 0);
        free(part);
    }
    size_t read = 0;
    for (size_t bit = 0; bit < 8 * length; bit++) {
        uint8_t *part = malloc(length);
        memcpy(part, whole, length);
        part[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (tensor_file_open_bytes(&f, "part", part, length, &e) == BLEMISH_OK) {
            for (size_t i = 0; i < f.count; i++)
                if (f.tensors[i].count <= 4) assert_ok(tensor_file_floats(&f, &f.tensors[i], out, &e), e.text);
            tensor_file_close(&f);
            read++;
        }
        free(part);
    }
    assert_true(read >= 8 * (sizeof values + sizeof halves)); /* those of the values at least */
}

/* ---- the name -------------------------------------------------------------------------------------------- */

static void refused(BlemishStatus status, const char *text, const char *part) {
    if (status != BLEMISH_ERROR_ARGUMENT || strstr(text, part) == NULL) fail_msg("%d: %s", (int)status, text);
}

static void the_name_stands_for_its_own_weights(void **state) {
    (void)state;
    char path[PATH_SIZE] = "x", error[BLEMISH_ERROR_SIZE], sha256[65];
    Error e = {0};
    TensorFile f;
    BlemishModel *m;
    assert_ok(blemish_weights_find("builtin", path, sizeof path, error), error);
    assert_string_equal(path, "");
    refused(weights_open(&f, "builtin", FILE_PATH, sha256, &e), e.text,
            FILE_PATH ": backbone: found builtin, whose weights are compiled in, expected the file's own");
    const BlemishStatus untrained = blemish_model_untrained(&m, "builtin", FILE_PATH, SIDE, SIDE);
    refused(untrained, blemish_model_error(m), "compiled in");
    blemish_model_close(m);
    refused(blemish_weights_import(FILE_PATH, "builtin", path, sizeof path, error), error, "compiled in");
    refused(blemish_weights_fetch("builtin", NULL, NULL, NULL, path, sizeof path, error), error, "nothing to fetch");
    assert_true(weights_embedded("builtin") && !weights_embedded("resnet18") && !weights_embedded(""));
    assert_false(weights_published(embedded_weights(0)->known.sha256_prefix));
}

/* ---- training -------------------------------------------------------------------------------------------- */

static BlemishModel *train(const BlemishDataset *d, const BlemishTrainSettings *settings) {
    static const char *const set[][2] = {{"size", "64"}, {"hidden", "64"}, {"epochs", "2"}, {"batch", "4"}};
    BlemishRecipe *r;
    BlemishModel *m;
    assert_ok(blemish_recipe_new(&r), "");
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        assert_ok(blemish_recipe_set(r, set[i][0], set[i][1]), blemish_recipe_error(r));
    assert_ok(blemish_train(&m, d, r, settings), blemish_model_error(m));
    blemish_recipe_close(r);
    return m;
}

/* It is the default, its features are measured, and it is what its file is under its architecture's name. */
static void training_starts_from_it(void **state) {
    (void)state;
    char data[PATH_SIZE], error[BLEMISH_ERROR_SIZE];
    BlemishSynthSettings synth;
    BlemishDataset *d;
    BlemishTrainSettings settings;
    blemish_synth_defaults(&synth);
    synth.width = synth.height = SIDE;
    synth.train_good = 4, synth.train_defect = 2, synth.test_good = synth.test_defect = 1;
    assert_ok(blemish_synth(path_in(data, folder, "data"), &synth, error), error);
    assert_ok(blemish_dataset_open(&d, data, NULL), blemish_dataset_error(d));
    blemish_train_defaults(&settings);
    settings.threads = 1;
    json_t *headers[2];
    for (int i = 0; i < 2; i++) {
        if (i) settings.backbone = "resnet18", settings.weights = FILE_PATH;
        BlemishModel *m = train(d, &settings);
        headers[i] = json_loads(blemish_model_info(m).header_json, 0, NULL);
        assert_non_null(headers[i]);
        blemish_model_close(m);
    }
    blemish_dataset_close(d);
    const double scale = json_number_value(json_object_get(headers[0], "feature_scale"));
    assert_true(scale > 0 && scale != 1);
    assert_string_equal(json_string_value(json_object_get(headers[0], "backbone")), "builtin");
    assert_string_equal(json_string_value(json_object_get(headers[0], "weights_sha256")),
                        embedded_weights(0)->known.sha256_prefix);
    json_object_set_new(headers[1], "backbone", json_string("builtin"));
    assert_true(json_equal(headers[0], headers[1])); /* scale, thresholds, checksum */
    json_decref(headers[0]), json_decref(headers[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(predicting_does_not_touch_the_weights), /* before anything reads them */
        cmocka_unit_test(the_bytes_are_the_files),
        cmocka_unit_test(they_read_as_the_file_does),
        cmocka_unit_test(damaged_bytes_are_refused),
        cmocka_unit_test(the_name_stands_for_its_own_weights),
        cmocka_unit_test(training_starts_from_it),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
