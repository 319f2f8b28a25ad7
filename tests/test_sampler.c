#include "data/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DRAWS = 4096 };

static bool draws_equal(const Draw *a, const Draw *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i].sample != b[i].sample || a[i].flip != b[i].flip) return false;
    return true;
}

static void unsupervised_shows_every_normal_once(void **state) {
    (void)state;
    for (size_t n = 1; n < 40; n += 3) {
        Error e = {0};
        Sampler s;
        Draw draws[64], again[64];
        assert_int_equal(sampler_open(&s, n, 5, false, true, 9, &e), BLEMISH_OK);
        assert_int_equal(sampler_epoch_length(&s), n);
        size_t moved = 0;
        for (size_t epoch = 0; epoch < 5; epoch++) {
            uint8_t seen[64] = {0};
            assert_int_equal(sampler_epoch(&s, epoch, draws, &e), BLEMISH_OK);
            for (size_t i = 0; i < n; i++) {
                assert_true(draws[i].sample < n && draws[i].flip == FLIP_NONE);
                assert_int_equal(seen[draws[i].sample]++, 0);
                assert_int_equal(s.shown[i], epoch + 1);
                if (epoch > 0) moved += draws[i].sample != again[i].sample;
            }
            memcpy(again, draws, sizeof draws);
        }
        if (n > 3) assert_true(moved > 0); /* another epoch, another order */
        sampler_close(&s);
    }
}

/* The definition, literally: the chosen normals are exactly what picking one least-shown image at a time gives. */
static void supervised_is_balanced_and_least_shown_first(void **state) {
    (void)state;
    Random r = random_new(5, 0);
    for (int round = 0; round < 60; round++) {
        Error e = {0};
        Sampler s;
        size_t normals = 1 + random_below(&r, 50), anomalies = 1 + random_below(&r, 20);
        bool flips = round & 1;
        Draw draws[MAX_DRAWS];
        assert_int_equal(sampler_open(&s, normals, anomalies, true, flips, 3, &e), BLEMISH_OK);
        for (size_t i = 0; i < normals; i++) s.shown[i] = random_below(&r, 4);
        size_t length = sampler_epoch_length(&s);
        assert_int_equal(length, 8 * anomalies);
        for (size_t epoch = 0; epoch < 4; epoch++) {
            uint32_t level[64], flipped[32][4] = {{0}};
            memcpy(level, s.shown, normals * sizeof *level);
            assert_int_equal(sampler_epoch(&s, epoch, draws, &e), BLEMISH_OK);
            size_t good = 0;
            for (size_t i = 0; i < length; i++) {
                if (draws[i].sample < normals) {
                    assert_int_equal(draws[i].flip, FLIP_NONE);
                    level[draws[i].sample]++;
                    good++;
                } else {
                    flipped[draws[i].sample - normals][draws[i].flip]++;
                }
            }
            assert_int_equal(good, 4 * anomalies);
            for (size_t i = 0; i < anomalies; i++)
                for (int f = 0; f < 4; f++) assert_int_equal(flipped[i][f], flips ? 1 : f == 0 ? 4 : 0);
            /* The greedy rule leaves a unique multiset: nobody who was drawn ends more than one above anybody. */
            assert_memory_equal(level, s.shown, normals * sizeof *level);
            uint32_t before[64];
            memcpy(before, level, sizeof before);
            for (size_t i = 0; i < length; i++)
                if (draws[i].sample < normals) before[draws[i].sample]--;
            for (size_t i = 0; i < normals; i++)
                for (size_t j = 0; j < normals; j++)
                    if (level[i] > before[i]) assert_true(level[i] <= level[j] + 1);
        }
        sampler_close(&s);
    }
}

/* From the first epoch on, and after a resumption from the counts, no normal image is shown more than once oftener than
 * another: as told by the draws themselves, for fewer, as many and more normals than an epoch takes. */
static void counts_differ_by_at_most_one(void **state) {
    (void)state;
    enum { EPOCHS = 25 };
    static const size_t cases[][2] = {{1, 1}, {3, 1}, {4, 1}, {5, 1}, {7, 3}, {12, 3}, {13, 3}, {97, 2}, {100, 30}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int supervised = 0; supervised < 2; supervised++) {
            Error e = {0};
            Sampler s;
            Draw draws[MAX_DRAWS];
            const size_t normals = cases[c][0], anomalies = cases[c][1];
            const size_t an_epoch = supervised ? 4 * anomalies : normals;
            size_t times[128] = {0};
            assert_int_equal(sampler_open(&s, normals, anomalies, supervised, true, c, &e), BLEMISH_OK);
            for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
                if (epoch == EPOCHS / 2) { /* a checkpoint holds the counts alone */
                    uint32_t kept[128];
                    memcpy(kept, s.shown, normals * sizeof *kept);
                    sampler_close(&s);
                    assert_int_equal(sampler_open(&s, normals, anomalies, supervised, true, c, &e), BLEMISH_OK);
                    memcpy(s.shown, kept, normals * sizeof *kept);
                }
                assert_int_equal(sampler_epoch(&s, epoch, draws, &e), BLEMISH_OK);
                for (size_t i = 0; i < sampler_epoch_length(&s); i++)
                    if (draws[i].sample < normals) times[draws[i].sample]++;
                size_t least = SIZE_MAX, most = 0, total = 0;
                for (size_t i = 0; i < normals; i++) {
                    least = times[i] < least ? times[i] : least;
                    most = times[i] > most ? times[i] : most;
                    total += times[i];
                }
                assert_int_equal(total, (epoch + 1) * an_epoch);
                assert_true(most - least <= (total % normals != 0));
            }
            sampler_close(&s);
        }
}

static void epochs_repeat_from_seed_and_counts(void **state) {
    (void)state;
    Error e = {0};
    Sampler a, b, c;
    Draw one[MAX_DRAWS], two[MAX_DRAWS];
    assert_int_equal(sampler_open(&a, 30, 4, true, true, 7, &e), BLEMISH_OK);
    assert_int_equal(sampler_open(&b, 30, 4, true, true, 7, &e), BLEMISH_OK);
    assert_int_equal(sampler_open(&c, 30, 4, true, true, 8, &e), BLEMISH_OK);
    for (size_t epoch = 0; epoch < 6; epoch++) assert_int_equal(sampler_epoch(&a, epoch, one, &e), BLEMISH_OK);
    /* What a checkpoint holds: only the counts. */
    assert_int_equal(sampler_epoch(&a, 6, one, &e), BLEMISH_OK);
    memcpy(b.shown, a.shown, 30 * sizeof *b.shown);
    for (size_t i = 0; i < 32; i++)
        if (one[i].sample < 30) b.shown[one[i].sample]--;
    assert_int_equal(sampler_epoch(&b, 6, two, &e), BLEMISH_OK);
    assert_true(draws_equal(one, two, 32));
    assert_int_equal(sampler_epoch(&c, 0, one, &e), BLEMISH_OK);
    memset(b.shown, 0, 30 * sizeof *b.shown);
    assert_int_equal(sampler_epoch(&b, 0, two, &e), BLEMISH_OK);
    assert_false(draws_equal(one, two, 32));
    sampler_close(&a);
    sampler_close(&b);
    sampler_close(&c);
}

static void impossible_sets_are_refused(void **state) {
    (void)state;
    const struct {
        size_t normals, anomalies;
        bool supervised;
    } bad[] = {{0, 0, false}, {0, 3, true}, {3, 0, true}, {SIZE_MAX, 1, false}, {1, SIZE_MAX / 2, true}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error e = {0};
        Sampler s;
        assert_int_equal(sampler_open(&s, bad[i].normals, bad[i].anomalies, bad[i].supervised, true, 0, &e),
                         BLEMISH_ERROR_ARGUMENT);
        assert_true(e.text[0] != 0);
        sampler_close(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsupervised_shows_every_normal_once),
        cmocka_unit_test(supervised_is_balanced_and_least_shown_first),
        cmocka_unit_test(counts_differ_by_at_most_one),
        cmocka_unit_test(epochs_repeat_from_seed_and_counts),
        cmocka_unit_test(impossible_sets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
