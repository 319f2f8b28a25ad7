/* A model that was read leaves its backbone in the file: what is read later is what was there, or an error. */
#include "helper_model.h"
#include "infer/infer.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[PATH_SIZE], path[PATH_SIZE];

static int open_folder(void **state) {
    (void)state;
    folder_make(folder);
    path_in(path, folder, "file");
    return 0;
}

static int close_folder(void **state) {
    (void)state;
    folder_remove(folder);
    return 0;
}

/* Every type, at sizes around that of the pieces that are read at once. */
static void floats_are_those_of_the_mapping(void **state) {
    (void)state;
    static const size_t counts[] = {1, 3, 4095, 4096, 4097, 16384, 50001};
    enum { TYPES = TENSOR_U8 + 1, COUNTS = sizeof counts / sizeof *counts, TENSORS = TYPES * COUNTS, MOST = 50001 };
    static uint8_t bytes[MOST * 8];
    static char names[TENSORS][16];
    Tensor tensors[TENSORS];
    TensorFile f;
    Error e = {0};
    Random r = random_new(11, 0);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random_u32(&r);
    for (size_t i = 0; i < TENSORS; i++) {
        const size_t count = counts[i / TYPES];
        snprintf(names[i], sizeof names[i], "%zu", i);
        tensors[i] = (Tensor){names[i], (TensorType)(i % TYPES), 1, {count}, bytes + i, count};
        if (count == MOST) tensors[i].data = bytes;
    }
    assert_ok(safetensors_write(path, tensors, TENSORS, NULL, 0, &e), e.text);
    assert_ok(tensor_file_open(&f, path, &e), e.text);
    float *mapped = malloc(MOST * sizeof *mapped), *read = malloc(MOST * sizeof *read);
    for (size_t i = 0; i < TENSORS; i++) {
        const Tensor *t = tensor_file_find(&f, names[i]);
        tensor_to_f32(t, mapped);
        memset(read, 0xff, MOST * sizeof *read);
        assert_ok(tensor_file_floats(&f, t, read, &e), e.text);
        assert_memory_equal(mapped, read, t->count * sizeof *read);
    }
    free(mapped), free(read);
    tensor_file_close(&f);
}

static void write_model(const char *at, float bias) {
    Error e = {0};
    Model m;
    model_make(&m, 32, 32);
    for (size_t i = 0; i < m.trunk.count; i++) m.trunk.convs[i].bias[0] += bias;
    assert_ok(model_write(&m, at, &e), e.text);
    model_close(&m);
}

/* The score of one picture, or NAN where no session opens: then the error names the file. */
static float score_of(const Model *m) {
    Error e = {0};
    Session s;
    BlemishImage image;
    BlemishResult result = {.score = NAN};
    const BlemishSessionSettings settings = {.threads = 1, .batch = 1};
    picture_make(&image, 40, 40, 3, 5);
    if (session_open(&s, m, &settings, &e)) {
        assert_int_equal(e.status, BLEMISH_ERROR_IO);
        assert_memory_equal(e.text, path, strlen(path));
    } else {
        assert_ok(session_run(&s, &image, 1, &result, &e), e.text);
        session_close(&s);
    }
    image_free(&image);
    return result.score;
}

static void a_replaced_or_deleted_file_is_read_as_it_was(void **state) {
    (void)state;
    Error e = {0};
    Model m, other;
    char again[PATH_SIZE], first[65], second[65];
    write_model(path, 0);
    assert_ok(sha256_file(path, first, &e), e.text);
    assert_ok(model_read(&m, path, &e), e.text);
    const float score = score_of(&m);
    assert_true(score > 0 && score < 1);
    write_model(path, 0.5f);
    assert_ok(model_read(&other, path, &e), e.text);
    assert_true(score_of(&other) != score);
    assert_true(score_of(&m) == score);
    model_close(&other);
    assert_int_equal(unlink(path), 0);
    assert_true(score_of(&m) == score);
    assert_ok(model_write(&m, path_in(again, folder, "again"), &e), e.text);
    assert_ok(sha256_file(again, second, &e), e.text);
    assert_string_equal(first, second);
    model_close(&m);
}

/* As `cp` would: the file stays the same one, its bytes do not. */
static void a_file_that_was_written_to_is_refused(void **state) {
    (void)state;
    Error e = {0};
    Model m;
    struct stat info;
    write_model(path, 0);
    for (int shorter = 0; shorter < 2; shorter++) {
        assert_ok(model_read(&m, path, &e), e.text);
        assert_int_equal(stat(path, &info), 0);
        if (shorter) {
            assert_int_equal(truncate(path, info.st_size / 2), 0);
        } else { /* the same bytes: only the time tells */
            const struct timespec times[2] = {info.st_mtim, {info.st_mtim.tv_sec + 1, info.st_mtim.tv_nsec}};
            assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        }
        assert_true(isnan(score_of(&m)));
        assert_int_equal(model_write(&m, path, &e), BLEMISH_ERROR_IO);
        assert_non_null(strstr(e.text, path));
        assert_int_equal(folder_count(folder), 1);
        assert_int_equal(trunk_fetch(&m.trunk, &e), BLEMISH_ERROR_IO);
        model_close(&m);
    }
}

static void fetched_weights_need_no_file(void **state) {
    (void)state;
    Error e = {0};
    Model m;
    write_model(path, 0);
    assert_ok(model_read(&m, path, &e), e.text);
    const float score = score_of(&m);
    assert_ok(trunk_fetch(&m.trunk, &e), e.text);
    assert_int_equal(truncate(path, 0), 0);
    assert_true(score_of(&m) == score);
    model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(floats_are_those_of_the_mapping, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(a_replaced_or_deleted_file_is_read_as_it_was, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(a_file_that_was_written_to_is_refused, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(fetched_weights_need_no_file, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
