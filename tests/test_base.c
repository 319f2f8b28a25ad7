#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Known answers published with Random123 (kat_vectors): philox4x32-10. */
static void philox_matches_published_vectors(void **state) {
    (void)state;
    uint32_t out[4];
    philox4x32(0, 0, 0, out);
    const uint32_t zero[4] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
    assert_memory_equal(out, zero, sizeof zero);
    philox4x32(~0ull, ~0ull, ~0ull, out);
    const uint32_t ones[4] = {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu};
    assert_memory_equal(out, ones, sizeof ones);
    philox4x32(0x299f31d0a4093822ull, 0x0370734413198a2eull, 0x85a308d3243f6a88ull, out);
    const uint32_t pi[4] = {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u};
    assert_memory_equal(out, pi, sizeof pi);
}

static void random_draws_have_their_distribution(void **state) {
    (void)state;
    Random r = random_new(42, 7);
    enum { N = 200000 };
    double sum = 0, square = 0;
    size_t counts[6] = {0};
    for (int i = 0; i < N; i++) {
        double x = random_normal(&r);
        sum += x;
        square += x * x;
        counts[random_below(&r, 6)]++;
    }
    /* Five standard errors of the mean, of the variance and of a binomial count. */
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
    for (int i = 0; i < 6; i++) assert_true(fabs((double)counts[i] - N / 6.0) < 5 * sqrt(N * 5.0 / 36));
}

static void random_state_is_key_stream_position(void **state) {
    (void)state;
    Random a = random_new(1, 2);
    for (int i = 0; i < 13; i++) random_u32(&a);
    Random b = {.key = 1, .stream = 2, .position = 13};
    assert_int_equal(random_u32(&a), random_u32(&b));
    size_t items[50], seen[50] = {0};
    for (size_t i = 0; i < 50; i++) items[i] = i;
    random_shuffle(&a, items, 50);
    for (size_t i = 0; i < 50; i++) seen[items[i]]++;
    for (size_t i = 0; i < 50; i++) assert_int_equal(seen[i], 1);
}

static void errors_are_one_clean_line(void **state) {
    (void)state;
    Error e = {0};
    assert_int_equal(error_set(&e, BLEMISH_ERROR_FORMAT, "%s: width: found %d", "a\nb\x1b.png", 3),
                     BLEMISH_ERROR_FORMAT);
    assert_string_equal(e.text, "a?b?.png: width: found 3");
    errno = ENOENT;
    assert_int_equal(error_errno(&e, "x"), BLEMISH_ERROR_IO);
    assert_string_equal(e.text, "x: No such file or directory");
    char huge[4 * BLEMISH_ERROR_SIZE];
    memset(huge, 'a', sizeof huge);
    huge[sizeof huge - 1] = 0;
    error_errno(&e, "%s", huge);
    assert_int_equal(strlen(e.text), BLEMISH_ERROR_SIZE - 1);
}

static void arrays_are_aligned_zeroed_and_checked(void **state) {
    (void)state;
    Error e = {0};
    unsigned char *p = array_new(3, 7, &e);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    for (int i = 0; i < 21; i++) assert_int_equal(p[i], 0);
    array_free(p);
    assert_null(array_new(0, 8, &e));
    assert_int_equal(e.status, BLEMISH_OK);
    assert_null(array_new(SIZE_MAX / 2, 3, &e));
    assert_int_equal(e.status, BLEMISH_ERROR_MEMORY);
}

static void text_writes_json(void **state) {
    (void)state;
    Text t = {0};
    text_json_string(&t, "a\"b\\\n\xc3\xa9\xff");
    text_append(&t, ",", 1);
    text_json_number(&t, 0.1);
    text_append(&t, ",", 1);
    text_json_number(&t, NAN);
    assert_string_equal(t.data, "\"a\\\"b\\\\\\u000a\xc3\xa9\xef\xbf\xbd\",0.1,null");
    text_free(&t);
    Random r = random_new(3, 0);
    for (int i = 0; i < 1000; i++) {
        double x = (double)random_normal(&r) / 3;
        text_json_number(&t, x);
        assert_true(strtod(t.data, NULL) == x);
        text_free(&t);
    }
}

static void quotas_are_rounded_up_to_cores(void **state) {
    (void)state;
    const struct {
        const char *text;
        int cores;
    } cases[] = {{"200000 100000", 2},
                 {"150000 100000", 2},
                 {"100001 100000", 2},
                 {"1000 100000", 1},
                 {"max 100000", 0},
                 {"-1 100000", 0},
                 {"100000 0", 0},
                 {"0 100000", 0},
                 {"100000", 0},
                 {" ", 0},
                 {"", 0},
                 {"9223372036854775807 1", 0},
                 {"9223372036854775807 9223372036854775807", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(cores_of_quota(cases[i].text), cases[i].cores);
    assert_int_equal(cores_limit(1), 1);
    assert_in_range(cores_limit(64), 1, 64);
}

static void files_are_loaded_up_to_a_size(void **state) {
    (void)state;
    Error e = {0};
    char path[] = "/tmp/blemish-base-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "content", 7), 7);
    uint8_t *bytes;
    size_t size;
    assert_int_equal(file_load(path, "a text", 7, &bytes, &size, &e), BLEMISH_OK);
    assert_int_equal(size, 7);
    assert_string_equal((char *)bytes, "content");
    array_free(bytes);
    assert_int_equal(file_load(path, "a text", 6, &bytes, &size, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, ": size: found 7 bytes, expected a text of at most 6"));
    assert_null(bytes);
    assert_int_equal(size, 0);
    assert_int_equal(ftruncate(fd, (off_t)1 << 36), 0); /* sparse: 64 GiB that take no disk */
    assert_int_equal(file_load(path, "a text", 1 << 20, &bytes, &size, &e), BLEMISH_ERROR_FORMAT);
    assert_null(bytes);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(file_load(path, "a text", 6, &bytes, &size, &e), BLEMISH_OK);
    assert_int_equal(size, 0);
    assert_string_equal((char *)bytes, "");
    array_free(bytes);
    close(fd);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_matches_published_vectors),      cmocka_unit_test(random_draws_have_their_distribution),
        cmocka_unit_test(random_state_is_key_stream_position),   cmocka_unit_test(errors_are_one_clean_line),
        cmocka_unit_test(arrays_are_aligned_zeroed_and_checked), cmocka_unit_test(text_writes_json),
        cmocka_unit_test(quotas_are_rounded_up_to_cores),        cmocka_unit_test(files_are_loaded_up_to_a_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
