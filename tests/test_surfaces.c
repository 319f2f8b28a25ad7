/* The families of surfaces: what their pictures promise, and what their functions refuse. */
#include "data/surfaces.h"
#include "helper_folder.h"
#include "image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static BlemishSurfaceSettings sized(size_t width, size_t height, uint64_t families, int threads) {
    BlemishSurfaceSettings s;
    blemish_surface_defaults(&s);
    s.width = width;
    s.height = height;
    s.families = families;
    s.threads = threads;
    return s;
}

/* One picture, the caller's to free. */
static uint8_t *picture(const BlemishSurfaceSettings *s, uint64_t program, uint64_t sample, int32_t defect,
                        uint8_t *mask) {
    char error[BLEMISH_ERROR_SIZE] = "";
    uint8_t *rgb = malloc(3 * s->width * s->height);
    assert_non_null(rgb);
    assert_ok(blemish_surface_images(s, 1, &program, &sample, &defect, rgb, mask, error), error);
    return rgb;
}

/* ---- determinism ------------------------------------------------------------------------------------------ */

static void pictures_depend_on_their_numbers_only(void **state) {
    (void)state;
    enum { COUNT = 48, SIDE = 40, PIXELS = SIDE * SIDE };
    uint64_t programs[COUNT], samples[COUNT];
    int32_t defects[COUNT];
    Random r = random_new(3, 0);
    for (size_t i = 0; i < COUNT; i++) {
        programs[i] = random_below(&r, 100);
        samples[i] = (uint64_t)random_u32(&r) << 20;
        defects[i] = (int32_t)random_below(&r, FLAW_FAMILIES + 3) - 3;
    }
    static uint8_t rgb[3][COUNT * PIXELS * 3], masks[3][COUNT * PIXELS], one[PIXELS];
    char error[BLEMISH_ERROR_SIZE] = "";
    for (int threads = 1; threads <= 3; threads++) {
        const BlemishSurfaceSettings s = sized(SIDE, SIDE, 0, threads);
        assert_ok(
            blemish_surface_images(&s, COUNT, programs, samples, defects, rgb[threads - 1], masks[threads - 1], error),
            error);
    }
    assert_memory_equal(rgb[0], rgb[1], sizeof rgb[0]);
    assert_memory_equal(rgb[0], rgb[2], sizeof rgb[0]);
    assert_memory_equal(masks[0], masks[2], sizeof masks[0]);
    const BlemishSurfaceSettings s = sized(SIDE, SIDE, 0, 1);
    for (size_t i = COUNT; i-- > 0;) {
        uint8_t *again = picture(&s, programs[i], samples[i], defects[i], one);
        assert_memory_equal(again, rgb[0] + i * 3 * PIXELS, 3 * PIXELS);
        assert_memory_equal(one, masks[0] + i * PIXELS, PIXELS);
        free(again);
    }
}

/* The same bits from every compiler and every instruction set: a number that this test was given once. Whoever changes
 * a family on purpose gives it the new one. */
static void every_build_paints_the_same_bits(void **state) {
    (void)state;
    const BlemishSurfaceSettings s = sized(37, 29, 0, 1);
    uint64_t hash = FNV1A64_BASIS;
    for (uint64_t program = 0; program < 2 * SURFACE_FAMILIES; program++) {
        uint8_t *rgb = picture(&s, program, program % 5, -1, NULL);
        hash = fnv1a64(rgb, 3 * s.width * s.height, hash);
        free(rgb);
    }
    assert_int_equal(hash, 0xa93d68924b51e444);
}

/* ---- looks ------------------------------------------------------------------------------------------------ */

enum { LOOKS = 9 };

/* Means and deviations of the colours, roughness of the brightness along x and y and at twice the distance, share of
 * dark pixels. */
static void look_at(const uint8_t *rgb, size_t width, size_t height, double look[LOOKS]) {
    double sum[3] = {0}, square = 0, rough[4] = {0}, dark = 0;
    const double n = (double)width * (double)height;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const uint8_t *p = rgb + 3 * (y * width + x);
            for (size_t k = 0; k < 3; k++) sum[k] += p[k];
            square += (double)p[1] * p[1];
            dark += p[1] < 64;
            for (size_t d = 1; d <= 2; d++) {
                if (x >= d) rough[2 * d - 2] += fabs((double)p[1] - p[1 - 3 * (ptrdiff_t)d]);
                if (y >= d) rough[2 * d - 1] += fabs((double)p[1] - p[1 - 3 * (ptrdiff_t)(d * width)]);
            }
        }
    for (size_t k = 0; k < 3; k++) look[k] = sum[k] / n / 8;
    look[3] = sqrt(fmax(square / n - sum[1] / n * (sum[1] / n), 0)) / 4;
    for (size_t k = 0; k < 4; k++) look[4 + k] = rough[k] / n;
    look[8] = 10 * dark / n;
}

static double distance(const double *a, const double *b) {
    double sum = 0;
    for (size_t k = 0; k < LOOKS; k++) sum += (a[k] - b[k]) * (a[k] - b[k]);
    return sqrt(sum);
}

/* No picture is nearly flat, black or white. */
static void pictures_are_neither_flat_nor_clipped(void **state) {
    (void)state;
    const BlemishSurfaceSettings s = sized(64, 64, 0, 1);
    for (uint64_t program = 0; program < 12 * SURFACE_FAMILIES; program++) {
        uint8_t *rgb = picture(&s, program, 1, -1, NULL);
        double sum = 0, square = 0, ends = 0;
        for (size_t i = 0; i < 64 * 64 * 3; i++) {
            sum += rgb[i];
            square += (double)rgb[i] * rgb[i];
            ends += rgb[i] == 0 || rgb[i] == 255;
        }
        const double n = 64 * 64 * 3, mean = sum / n, deviation = sqrt(square / n - mean * mean);
        if (mean < 8 || mean > 247 || deviation < 2 || ends > 0.7 * n)
            fail_msg("%s: program %d: mean %.1f, deviation %.1f, %.0f %% at the ends",
                     surface_families[program % SURFACE_FAMILIES].name, (int)program, mean, deviation, 100 * ends / n);
        free(rgb);
    }
}

/* Samples of a program look alike and programs of a family do not: of eight programs of one family, the one whose first
 * sample looks nearest is nearly always a sample's own. By chance it is in one case of eight. */
static void samples_show_their_program(void **state) {
    (void)state;
    enum { PROGRAMS = 8, SAMPLES = 4, SIDE = 96 };
    size_t right = 0, all = 0;
    for (size_t family = 0; family < SURFACE_FAMILIES; family++) {
        BlemishSurfaceSettings s = sized(SIDE, SIDE, (uint64_t)1 << family, 1);
        s.nuisance = 0;
        double looks[PROGRAMS][SAMPLES][LOOKS];
        size_t mine = 0;
        for (uint64_t p = 0; p < PROGRAMS; p++)
            for (uint64_t i = 0; i < SAMPLES; i++) {
                uint8_t *rgb = picture(&s, p, i, -1, NULL);
                look_at(rgb, SIDE, SIDE, looks[p][i]);
                free(rgb);
            }
        for (size_t p = 0; p < PROGRAMS; p++)
            for (size_t i = 1; i < SAMPLES; i++) {
                size_t nearest = 0;
                for (size_t q = 1; q < PROGRAMS; q++)
                    if (distance(looks[p][i], looks[q][0]) < distance(looks[p][i], looks[nearest][0])) nearest = q;
                mine += nearest == p;
            }
        if (mine < 16)
            fail_msg("%s: %d of 24 samples look like their program", surface_families[family].name, (int)mine);
        right += mine;
        all += PROGRAMS * (SAMPLES - 1);
    }
    if (10 * right < 9 * all) fail_msg("%d of %d samples look like their program", (int)right, (int)all);
}

static void samples_are_other_patches(void **state) {
    (void)state;
    for (size_t family = 0; family < SURFACE_FAMILIES; family++) {
        BlemishSurfaceSettings s = sized(48, 48, (uint64_t)1 << family, 1);
        s.nuisance = 0;
        uint8_t *a = picture(&s, 5, 0, -1, NULL), *b = picture(&s, 5, 1, -1, NULL), *c = picture(&s, 6, 0, -1, NULL);
        size_t same = 0;
        for (size_t i = 0; i < 48 * 48 * 3; i++) same += a[i] == b[i];
        assert_true(10 * same < 9 * 48 * 48 * 3); /* two with the same background share some pixels by chance */
        assert_memory_not_equal(a, c, 48 * 48 * 3);
        free(a), free(b), free(c);
    }
}

static void programs_take_turns_over_the_enabled_families(void **state) {
    (void)state;
    const uint64_t some = (uint64_t)1 << 2 | (uint64_t)1 << 17 | (uint64_t)1 << (SURFACE_FAMILIES - 1);
    assert_ptr_equal(surface_program(1, some, 0).family, &surface_families[2]);
    assert_ptr_equal(surface_program(1, some, 7).family, &surface_families[17]);
    assert_ptr_equal(surface_program(1, some, UINT64_MAX).family, &surface_families[2]); /* divisible by 3 */
    for (size_t i = 0; i < SURFACE_FAMILIES; i++) {
        assert_ptr_equal(surface_program(1, SURFACE_ALL, i + SURFACE_FAMILIES).family, &surface_families[i]);
        assert_string_equal(blemish_surface_family(i), surface_families[i].name);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(surface_families[i].name, surface_families[k].name);
    }
    assert_null(blemish_surface_family(SURFACE_FAMILIES));
    for (size_t i = 1; i < FLAW_FAMILIES; i++)
        assert_true(strcmp(blemish_surface_defect(i - 1), blemish_surface_defect(i)) < 0);
    assert_null(blemish_surface_defect(FLAW_FAMILIES));
    assert_null(blemish_surface_defect(SIZE_MAX));
}

/* Parameters stay in their ranges and reach both ends of them. */
static void parameters_span_their_ranges(void **state) {
    (void)state;
    for (size_t family = 0; family < SURFACE_FAMILIES; family++)
        for (size_t k = 0; surface_families[family].ranges[k].name; k++) {
            const SurfaceRange *range = &surface_families[family].ranges[k];
            const float low = range->low, high = range->high, slack = 1e-5f * (high - low);
            float least = high, most = low;
            for (uint64_t p = 0; p < 200; p++) {
                const float v = surface_program(9, (uint64_t)1 << family, p).knobs.k[k];
                assert_true(v >= low - slack && v <= high + slack);
                least = fminf(least, v);
                most = fmaxf(most, v);
            }
            /* Of 200 uniform draws one misses a tenth with a chance of 7e-10. */
            assert_true(most > low + 0.75f * (high - low) && least < low + 0.1f * (high - low));
        }
}

/* ---- sizes ------------------------------------------------------------------------------------------------ */

static void every_size_is_painted(void **state) {
    (void)state;
    const size_t sizes[][2] = {{1, 1}, {1, 9}, {7, 1}, {2, 2}, {3, 5}, {17, 33}, {128, 8}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint64_t program = 0; program < SURFACE_FAMILIES; program++) {
            const BlemishSurfaceSettings s = sized(sizes[i][0], sizes[i][1], 0, 1);
            const size_t pixels = s.width * s.height;
            const int32_t defect = (int32_t)((program + i) % FLAW_FAMILIES);
            uint8_t *mask = malloc(pixels), *rgb = picture(&s, program, i, defect, mask);
            size_t area = 0;
            for (size_t k = 0; k < pixels; k++) area += mask[k] == 255;
            if (area == 0) fail_msg("%zu x %zu, program %d: empty mask", s.width, s.height, (int)program);
            free(rgb);
            free(mask);
        }
    BlemishSurfaceSettings large = sized(1024, 768, 0, 2);
    uint8_t *mask = malloc(1024 * 768), *rgb = picture(&large, 9, 0, 4, mask);
    assert_non_null(memchr(mask, 255, 1024 * 768));
    free(rgb);
    free(mask);
}

/* ---- defects ---------------------------------------------------------------------------------------------- */

/* The mask is the difference from the sample without the defect, and over all kinds and surfaces defects are small and
 * large, faint and strong. */
static void masks_are_where_pictures_differ(void **state) {
    (void)state;
    enum { SIDE = 72, PIXELS = SIDE * SIDE, ROUNDS = 76 };
    const BlemishSurfaceSettings s = sized(SIDE, SIDE, 0, 1);
    size_t small = 0, large = 0, faint = 0, strong = 0;
    static uint8_t mask[PIXELS];
    for (int32_t defect = 0; defect < FLAW_FAMILIES; defect++)
        for (uint64_t program = 0; program < ROUNDS; program++) {
            uint8_t *good = picture(&s, program, 3, -1, mask), *bad;
            for (size_t i = 0; i < PIXELS; i++) assert_int_equal(mask[i], 0);
            bad = picture(&s, program, 3, defect, mask);
            size_t area = 0, change = 0;
            for (size_t i = 0; i < PIXELS; i++) {
                int most = 0;
                for (size_t k = 0; k < 3; k++) most = (int)fmax(most, abs(good[3 * i + k] - bad[3 * i + k]));
                assert_int_equal(mask[i], most >= FLAW_DIFFERENCE ? 255 : 0);
                area += mask[i] != 0;
                change += mask[i] ? (size_t)most : 0;
            }
            const double share = (double)area / PIXELS, mean = (double)change / (double)(area ? area : 1);
            if (area == 0 || share > 0.3)
                fail_msg("%s on program %d: %.4f of the picture", blemish_surface_defect((size_t)defect), (int)program,
                         share);
            small += share < 0.005;
            large += share > 0.03;
            faint += mean < 14;
            strong += mean > 35;
            free(good);
            free(bad);
        }
    const size_t all = FLAW_FAMILIES * ROUNDS;
    if (10 * small < all || 10 * large < all || 10 * faint < all || 10 * strong < all)
        fail_msg("of %zu: small %zu, large %zu, faint %zu, strong %zu", all, small, large, faint, strong);
}

/* ---- misuse ----------------------------------------------------------------------------------------------- */

static void refuse(BlemishSurfaceSettings s, const char *part) {
    char error[BLEMISH_ERROR_SIZE] = "";
    uint64_t one = 1;
    uint8_t rgb[3] = {7, 7, 7};
    assert_int_equal(blemish_surface_images(&s, 1, &one, &one, NULL, rgb, NULL, error), BLEMISH_ERROR_ARGUMENT);
    if (!strstr(error, part)) fail_msg("\"%s\" does not hold \"%s\"", error, part);
    assert_int_equal(rgb[0], 7);
    assert_int_equal(blemish_surface_sheet(&s, "never.png", NULL), BLEMISH_ERROR_ARGUMENT);
}

static void misuse_is_refused(void **state) {
    (void)state;
    char error[BLEMISH_ERROR_SIZE] = "";
    uint64_t number[2] = {0, UINT64_MAX};
    int32_t defects[2] = {-5, FLAW_FAMILIES};
    uint8_t rgb[6];
    BlemishSurfaceSettings s = sized(1, 1, 0, 1);
    assert_ok(blemish_surface_images(&s, 2, number, number, NULL, rgb, NULL, error), error);
    assert_ok(blemish_surface_images(&s, 0, NULL, NULL, NULL, NULL, NULL, error), error);
    assert_int_equal(blemish_surface_images(&s, 1, NULL, number, NULL, rgb, NULL, error), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(error, "programs: found a null pointer");
    assert_int_equal(blemish_surface_images(&s, 1, number, NULL, NULL, rgb, NULL, NULL), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_surface_images(&s, 1, number, number, NULL, NULL, NULL, NULL), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_surface_images(&s, 2, number, number, defects, rgb, NULL, error), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(error, "defects[1]: found 10, expected at most 9"));
    refuse(sized(0, 1, 0, 1), "size: found 0 x 1");
    refuse(sized(1, 8193, 0, 1), "size: found 1 x 8193");
    refuse(sized(SIZE_MAX, SIZE_MAX, 0, 1), "size");
    refuse(sized(1, 1, (uint64_t)1 << SURFACE_FAMILIES, 1), "families");
    refuse(sized(1, 1, 0, -1), "threads: found -1");
    refuse(sized(1, 1, 0, 1025), "threads");
    s.nuisance = NAN;
    refuse(s, "nuisance");
    s.nuisance = -0.01f;
    refuse(s, "nuisance");
    blemish_surface_defaults(NULL);
    assert_int_equal(blemish_surface_sheet(NULL, NULL, error), BLEMISH_ERROR_ARGUMENT);
    s = sized(1025, 16, 1, 1);
    assert_int_equal(blemish_surface_sheet(&s, "never.png", error), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_surface_sheet(NULL, "/nonexistent/sheet.png", error), BLEMISH_ERROR_IO);
}

/* ---- files ------------------------------------------------------------------------------------------------ */

static void sheets_are_pictures(void **state) {
    (void)state;
    char path[PATH_SIZE], error[BLEMISH_ERROR_SIZE] = "";
    const char *names[] = {"sheet.png", "sheet.jpg"};
    for (size_t i = 0; i < 2; i++) {
        const BlemishSurfaceSettings s = sized(16, 24, i ? 1u << 3 : 0, 1);
        assert_ok(blemish_surface_sheet(&s, path_in(path, folder, names[i]), error), error);
        BlemishImage sheet;
        Error e = {0};
        if (image_decode(&sheet, path, &e) != BLEMISH_OK) fail_msg("%s", e.text);
        assert_true(sheet.height > 24 && sheet.width > 6 * 16);
        image_free(&sheet);
    }
}

static size_t count(const BlemishDataset *d, BlemishSplit split, BlemishLabel label) {
    size_t n = 0;
    for (size_t i = 0; i < blemish_dataset_count(d); i++) {
        const BlemishSample s = blemish_dataset_sample(d, i);
        n += s.split == split && s.label == label;
        if (s.label == BLEMISH_LABEL_DEFECT) assert_non_null(s.mask_path);
    }
    return n;
}

static void programs_become_data_sets(void **state) {
    (void)state;
    char path[PATH_SIZE], category[PATH_SIZE], error[BLEMISH_ERROR_SIZE] = "";
    BlemishSynthSettings s;
    blemish_synth_defaults(&s);
    s = (BlemishSynthSettings){.width = 32,
                               .height = 40,
                               .train_good = 2,
                               .train_defect = 3,
                               .test_good = 1,
                               .test_defect = 11,
                               .seed = 4,
                               .families = 1u << 4 | 1u << 9,
                               .programs = 2};
    assert_ok(blemish_synth(path_in(path, folder, "sets"), &s, error), error);
    const char *names[] = {"0000-wood", "0001-weave"};
    for (size_t i = 0; i < 2; i++) {
        BlemishDataset *d;
        assert_ok(blemish_dataset_open(&d, path_in(category, path, names[i]), NULL), blemish_dataset_error(d));
        assert_int_equal(count(d, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_GOOD), 2);
        assert_int_equal(count(d, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT), 3);
        assert_int_equal(count(d, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_GOOD), 1);
        assert_int_equal(count(d, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_DEFECT), 11);
        blemish_dataset_close(d);
    }
    s.programs = 1;
    BlemishDataset *d;
    assert_ok(blemish_synth(path_in(path, folder, "one"), &s, error), error);
    assert_ok(blemish_dataset_open(&d, path, NULL), blemish_dataset_error(d));
    blemish_dataset_close(d);
    s.programs = 0;
    assert_int_equal(blemish_synth(path_in(path, folder, "none"), &s, error), BLEMISH_ERROR_ARGUMENT);
    s.programs = SIZE_MAX;
    assert_int_equal(blemish_synth(path, &s, error), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(error, "programs: found"));
    s.programs = 2;
    s.families = 0;
    assert_int_equal(blemish_synth(path, &s, error), BLEMISH_ERROR_ARGUMENT);
    s.families = UINT64_MAX;
    assert_int_equal(blemish_synth(path, &s, error), BLEMISH_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_depend_on_their_numbers_only),
        cmocka_unit_test(every_build_paints_the_same_bits),
        cmocka_unit_test(pictures_are_neither_flat_nor_clipped),
        cmocka_unit_test(samples_show_their_program),
        cmocka_unit_test(samples_are_other_patches),
        cmocka_unit_test(programs_take_turns_over_the_enabled_families),
        cmocka_unit_test(parameters_span_their_ranges),
        cmocka_unit_test(every_size_is_painted),
        cmocka_unit_test(masks_are_where_pictures_differ),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(sheets_are_pictures),
        cmocka_unit_test(programs_become_data_sets),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
