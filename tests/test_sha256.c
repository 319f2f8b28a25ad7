#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void digest_of(const void *bytes, size_t length, char hex[65]) {
    Sha256 s;
    uint8_t digest[32];
    sha256_start(&s);
    sha256_add(&s, bytes, length);
    sha256_finish(&s, digest);
    sha256_hex(digest, hex);
}

/* FIPS 180-4's examples, and a million times 'a'. */
static void published_vectors(void **state) {
    (void)state;
    char hex[65];
    digest_of("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_of("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    digest_of(two, strlen(two), hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    digest_of(million, 1000000, hex);
    free(million);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Every length around the block boundaries, padded by hand as FIPS 180-4 section 5.1.1 says: a message of whole
 * blocks and its hand-padded twin run through the same compressions, so both states agree before finishing. */
static void pieces_and_padding_agree(void **state) {
    (void)state;
    Random r = random_new(5, 0);
    uint8_t message[256];
    for (size_t i = 0; i < sizeof message; i++) message[i] = (uint8_t)random_u32(&r);
    for (size_t length = 0; length <= sizeof message - 80; length++) {
        Sha256 whole, pieces, padded;
        uint8_t a[32], b[32], by_hand[256] = {0};
        sha256_start(&whole);
        sha256_add(&whole, message, length);
        sha256_finish(&whole, a);
        sha256_start(&pieces);
        for (size_t done = 0; done < length;) {
            size_t n = 1 + random_below(&r, 90);
            if (n > length - done) n = length - done;
            sha256_add(&pieces, message + done, n);
            done += n;
        }
        sha256_finish(&pieces, b);
        assert_memory_equal(a, b, 32);
        memcpy(by_hand, message, length);
        by_hand[length] = 0x80;
        size_t total = (length + 9 + 63) / 64 * 64;
        by_hand[total - 1] = (uint8_t)(length * 8);
        by_hand[total - 2] = (uint8_t)(length * 8 >> 8);
        sha256_start(&padded);
        sha256_add(&padded, by_hand, total);
        for (size_t i = 0; i < 32; i++) assert_int_equal(a[i], (uint8_t)(padded.state[i / 4] >> (24 - 8 * (i % 4))));
    }
}

static void files(void **state) {
    (void)state;
    char folder[] = "/tmp/blemish-sha256-XXXXXX", path[64], hex[65], expected[65];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x", folder);
    Error e = {0};
    assert_int_equal(sha256_file(path, hex, &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, path));
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    uint8_t bytes[70001];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7);
    assert_int_equal(fwrite(bytes, 1, sizeof bytes, f), sizeof bytes);
    fclose(f);
    assert_int_equal(sha256_file(path, hex, &e), BLEMISH_OK);
    digest_of(bytes, sizeof bytes, expected);
    assert_string_equal(hex, expected);
    assert_int_equal(sha256_file(folder, hex, &e), BLEMISH_ERROR_IO);
    unlink(path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(pieces_and_padding_agree),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
