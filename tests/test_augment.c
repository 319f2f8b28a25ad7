/* Augmentations against their definition pixel by pixel, the group of turns and flips, and the list of views. */
#include "helper_model.h"
#include "train/views.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 60 };

static BlemishImage random_image(Random *r, size_t width, size_t height, int channels) {
    Error e = {0};
    BlemishImage image;
    assert_ok(image_new(&image, width, height, channels, &e), e.text);
    for (size_t i = 0; i < width * height * (size_t)channels; i++)
        image_pixels(&image)[i] = (uint8_t)random_below(r, 256);
    return image;
}

static size_t side(Random *r) {
    return 1 + random_below(r, 40);
}

/* All at random: shifts up to the whole picture but for one pixel. */
static Augmentation random_view(Random *r, size_t height, size_t width) {
    return (Augmentation){.turn = random_below(r, 4),
                          .contrast = 2 * random_float(r),
                          .brightness = 2 * random_float(r),
                          .down = (ptrdiff_t)random_below(r, (uint32_t)(2 * height - 1)) - (ptrdiff_t)height + 1,
                          .right = (ptrdiff_t)random_below(r, (uint32_t)(2 * width - 1)) - (ptrdiff_t)width + 1,
                          .flip = (Flip)random_below(r, 4)};
}

/* ---- the definition -------------------------------------------------------------------------------------- */

/* Counter-clockwise: the right column becomes the upper row. */
static BlemishImage turned_once(const BlemishImage *in) {
    Error e = {0};
    BlemishImage out;
    const size_t n = (size_t)in->channels;
    assert_ok(image_new(&out, in->height, in->width, in->channels, &e), e.text);
    for (size_t y = 0; y < out.height; y++)
        for (size_t x = 0; x < out.width; x++)
            memcpy(image_pixels(&out) + y * out.stride + x * n, in->data + x * in->stride + (in->width - 1 - y) * n, n);
    return out;
}

static BlemishImage turned(const BlemishImage *in, unsigned turns) {
    Random none = random_new(0, 0);
    BlemishImage out = random_image(&none, in->width, in->height, in->channels);
    memcpy(image_pixels(&out), in->data, in->height * in->stride);
    for (unsigned i = 0; i < turns; i++) {
        BlemishImage next = turned_once(&out);
        image_free(&out);
        out = next;
    }
    return out;
}

/* Where the pixel at (y, x) of the result comes from in what was neither shifted nor flipped. */
static size_t origin(const Augmentation *a, size_t height, size_t width, size_t y, size_t x) {
    if (a->flip == FLIP_VERTICAL || a->flip == FLIP_BOTH) y = height - 1 - y;
    if (a->flip == FLIP_HORIZONTAL || a->flip == FLIP_BOTH) x = width - 1 - x;
    const double from_y = fmin(fmax((double)y - (double)a->down, 0), (double)height - 1);
    const double from_x = fmin(fmax((double)x - (double)a->right, 0), (double)width - 1);
    return (size_t)from_y * width + (size_t)from_x;
}

static float *input_of(const BlemishImage *image, const Augmentation *a, size_t height, size_t width) {
    Error e = {0};
    float *input = malloc(3 * height * width * sizeof *input);
    assert_non_null(input);
    if (a)
        assert_ok(augment_image(a, image, NULL, height, width, input, &e), e.text);
    else
        image_to_input(image, height, width, input);
    return input;
}

/* A dozen float operations; normalised values reach 1 / 0.224. */
#define TOLERANCE (12 * 4.5 * 0x1p-24)

static size_t check_image(Random *r, bool lit) {
    const size_t height = side(r), width = side(r), n = 3 * height * width;
    BlemishImage image = random_image(r, side(r), side(r), random_below(r, 2) ? 3 : 1);
    Augmentation a = random_view(r, height, width);
    if (!lit) a.contrast = a.brightness = 1;
    BlemishImage upright = turned(&image, a.turn);
    float *got = input_of(&image, &a, height, width), *plain = input_of(&upright, NULL, height, width);
    double mean = 0;
    size_t clamped = 0;
    for (size_t i = 0; i < n; i++)
        mean += ((double)plain[i] * (double)image_std[i % 3] + (double)image_mean[i % 3]) / (double)n;
    for (size_t i = 0; i < n; i++) {
        const size_t c = i % 3;
        const float from = plain[3 * origin(&a, height, width, i / 3 / width, i / 3 % width) + c];
        if (!lit) {
            assert_memory_equal(&got[i], &from, sizeof from);
            continue;
        }
        double v = (double)from * (double)image_std[c] + (double)image_mean[c];
        v = (mean + (v - mean) * (double)a.contrast) * (double)a.brightness;
        clamped += v < 0 || v > 1;
        v = (fmin(fmax(v, 0), 1) - (double)image_mean[c]) / (double)image_std[c];
        if (!(fabs((double)got[i] - v) < TOLERANCE)) fail_msg("%zu: found %.9g, expected %.9g", i, (double)got[i], v);
    }
    free(got);
    free(plain);
    image_free(&image);
    image_free(&upright);
    return clamped;
}

static void images_are_their_definition(void **state) {
    (void)state;
    Random r = random_new(1, 0);
    size_t clamped = 0;
    for (size_t i = 0; i < ROUNDS; i++) {
        check_image(&r, false);
        clamped += check_image(&r, true);
    }
    assert_true(clamped > ROUNDS);
}

static void masks_are_their_definition(void **state) {
    (void)state;
    Random r = random_new(2, 0);
    for (size_t i = 0; i < ROUNDS; i++) {
        Error e = {0};
        const size_t height = side(&r), width = side(&r);
        BlemishImage mask = random_image(&r, side(&r), side(&r), 1);
        const Augmentation a = random_view(&r, height, width);
        BlemishImage upright = turned(&mask, a.turn);
        uint8_t *got = malloc(height * width);
        assert_non_null(got);
        assert_ok(augment_turn_mask(a.turn, &mask, height, width, got, &e), e.text);
        augment_mask(&a, got, height, width);
        for (size_t k = 0; k < height * width; k++) {
            const size_t from = origin(&a, height, width, k / width, k % width);
            const size_t y = from / width * upright.height / height, x = from % width * upright.width / width;
            assert_int_equal(got[k], upright.data[y * upright.stride + x]);
        }
        free(got);
        image_free(&mask);
        image_free(&upright);
    }
}

/* A white defect on black stays under its mask, the uncovered border too. */
static void mask_and_image_move_together(void **state) {
    (void)state;
    Random r = random_new(3, 0);
    for (size_t i = 0; i < ROUNDS; i++) {
        Error e = {0};
        BlemishImage mask = random_image(&r, side(&r), side(&r), 1),
                     image = random_image(&r, mask.width, mask.height, 1);
        for (size_t k = 0; k < mask.width * mask.height; k++) {
            image_pixels(&mask)[k] &= 1;
            image_pixels(&image)[k] = mask.data[k] ? 255 : 0;
        }
        const bool swapped = i % 2;
        const size_t height = swapped ? mask.width : mask.height, width = swapped ? mask.height : mask.width;
        Augmentation a = random_view(&r, height, width);
        a.turn = (a.turn & 2) | swapped; /* to its own size: nothing is resampled */
        a.contrast = a.brightness = 1;
        float *input = input_of(&image, &a, height, width);
        uint8_t *moved = malloc(height * width);
        assert_non_null(moved);
        assert_ok(augment_turn_mask(a.turn, &mask, height, width, moved, &e), e.text);
        augment_mask(&a, moved, height, width);
        for (size_t k = 0; k < height * width; k++) assert_int_equal(moved[k], input[3 * k] > 0);
        free(input);
        free(moved);
        image_free(&mask);
        image_free(&image);
    }
}

static void nothing_changes_nothing(void **state) {
    (void)state;
    Random r = random_new(4, 0);
    Recipe off;
    recipe_defaults(&off);
    for (size_t i = 0; i < ROUNDS; i++) {
        const size_t height = side(&r), width = side(&r);
        BlemishImage image = random_image(&r, side(&r), side(&r), 3);
        Augmentation a = AUGMENT_NONE;
        augment_draw(&a, &off, &r);
        float *got = input_of(&image, &a, height, width), *want = input_of(&image, NULL, height, width);
        assert_memory_equal(got, want, 3 * height * width * sizeof *got);
        free(got);
        free(want);
        image_free(&image);
    }
}

/* ---- the group ------------------------------------------------------------------------------------------- */

static void four_turns_are_none(void **state) {
    (void)state;
    Random r = random_new(5, 0);
    for (int channels = 1; channels <= 3; channels += 2) {
        BlemishImage image = random_image(&r, 7, 12, channels), at = turned(&image, 0);
        for (int i = 0; i < 4; i++) {
            Error e = {0};
            BlemishImage next;
            assert_ok(image_orient(&at, 8, &next, &e), e.text);
            image_free(&at);
            at = next;
            assert_true(at.width == (i % 2 ? 7 : 12) && at.height == (i % 2 ? 12 : 7) && at.channels == channels);
        }
        assert_memory_equal(at.data, image.data, 7 * 12 * (size_t)channels);
        image_free(&image);
        image_free(&at);
    }
}

/* The pose is one of eight: turned by 0 to 3 quarters, then mirrored or not. A flip f of a turn t of the image has one
 * of these, which views_show must find. */
static void views_compose_turns_and_flips(void **state) {
    (void)state;
    enum { SIDE = 9, BYTES = 3 * SIDE * SIDE * sizeof(float) };
    Random r = random_new(6, 0);
    Error e = {0};
    BlemishImage image = random_image(&r, SIDE, SIDE, 3);
    Recipe recipe;
    Views v;
    recipe_defaults(&recipe);
    recipe.rotate = 1;
    assert_ok(views_open(&v, &recipe, 2, 3, &e), e.text);
    assert_int_equal(v.count, 2 * 4 + 3 * 8);
    for (Flip f = FLIP_NONE; f <= FLIP_BOTH; f++) {
        bool seen[4] = {false};
        for (size_t step = 0; step < 64; step++) {
            const Showing s = views_show(&v, (Draw){3, f}, step, 0);
            assert_true(s.entry >= 2 * 4 + 8 && s.entry < 2 * 4 + 16);
            assert_true(s.view.flip == FLIP_NONE || s.view.flip == FLIP_HORIZONTAL);
            float *got = input_of(&image, &s.view, SIDE, SIDE);
            unsigned found = 4;
            for (unsigned turn = 0; turn < 4; turn++) {
                Augmentation a = AUGMENT_NONE;
                a.turn = turn;
                a.flip = f;
                float *want = input_of(&image, &a, SIDE, SIDE);
                if (memcmp(got, want, BYTES) == 0) found = turn;
                free(want);
            }
            assert_true(found < 4);
            seen[found] = true;
            free(got);
        }
        assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    }
    float *poses[8];
    for (size_t i = 0; i < 8; i++) poses[i] = input_of(&image, &v.list[2 * 4 + i], SIDE, SIDE);
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < i; k++) assert_true(memcmp(poses[i], poses[k], BYTES) != 0);
    for (size_t i = 0; i < 8; i++) free(poses[i]);
    views_close(&v);
    image_free(&image);
}

/* ---- draws ----------------------------------------------------------------------------------------------- */

static void draws_stay_within_the_recipe(void **state) {
    (void)state;
    Recipe recipe;
    recipe_defaults(&recipe);
    recipe.brightness = 0.25;
    recipe.contrast = 0.5;
    recipe.shift = 0.1;
    recipe.height = 39; /* 3 pixels */
    recipe.width = 51;  /* 5 */
    Random r = random_new(7, 0);
    Augmentation least = {.contrast = 9, .brightness = 9}, most = {0};
    for (size_t i = 0; i < 4000; i++) {
        Augmentation a = AUGMENT_NONE;
        augment_draw(&a, &recipe, &r);
        least.contrast = fminf(least.contrast, a.contrast);
        most.contrast = fmaxf(most.contrast, a.contrast);
        least.brightness = fminf(least.brightness, a.brightness);
        most.brightness = fmaxf(most.brightness, a.brightness);
        if (a.down < least.down) least.down = a.down;
        if (a.down > most.down) most.down = a.down;
        if (a.right < least.right) least.right = a.right;
        if (a.right > most.right) most.right = a.right;
        assert_true(a.turn == 0 && a.flip == FLIP_NONE);
    }
    assert_true(least.contrast >= 0.5f && least.contrast < 0.51f && most.contrast <= 1.5f && most.contrast > 1.49f);
    assert_true(least.brightness >= 0.75f && least.brightness < 0.76f);
    assert_true(most.brightness <= 1.25f && most.brightness > 1.24f);
    assert_true(least.down == -3 && most.down == 3 && least.right == -5 && most.right == 5);
}

static size_t pixels_kept(const Augmentation *a, const uint8_t *mask, size_t height, size_t width) {
    size_t kept = 0;
    for (size_t i = 0; i < height * width; i++) {
        const double y = (double)(i / width) + (double)a->down, x = (double)(i % width) + (double)a->right;
        kept += mask[i] && y >= 0 && x >= 0 && y < (double)height && x < (double)width;
    }
    return kept;
}

/* The largest of the shift, its half, its quarter.. that keeps half of the mask. */
static void a_shift_keeps_the_defect(void **state) {
    (void)state;
    Random r = random_new(8, 0);
    size_t reduced = 0;
    for (size_t i = 0; i < 20 * ROUNDS; i++) {
        const size_t height = side(&r), width = side(&r), dots = random_below(&r, 4);
        uint8_t *mask = calloc(height, width);
        assert_non_null(mask);
        for (size_t k = 0; k < dots; k++) mask[random_below(&r, (uint32_t)(height * width))] = 1;
        const Augmentation before = random_view(&r, height, width), still = AUGMENT_NONE;
        const size_t all = pixels_kept(&still, mask, height, width);
        Augmentation want = before, got = before;
        while (2 * pixels_kept(&want, mask, height, width) < all) {
            want.down = (ptrdiff_t)trunc((double)want.down / 2);
            want.right = (ptrdiff_t)trunc((double)want.right / 2);
            reduced++;
        }
        augment_keep_defect(&got, mask, height, width);
        assert_true(got.down == want.down && got.right == want.right);
        assert_true(got.turn == before.turn && got.flip == before.flip && got.contrast == before.contrast);
        free(mask);
    }
    assert_true(reduced > ROUNDS);
}

/* ---- the list of views ----------------------------------------------------------------------------------- */

static bool same_view(const Augmentation *a, const Augmentation *b) {
    return a->turn == b->turn && a->flip == b->flip && a->contrast == b->contrast && a->brightness == b->brightness &&
           a->down == b->down && a->right == b->right;
}

static void check_views(int rotate, int flips, size_t variants, double brightness) {
    enum { NORMALS = 3, ANOMALIES = 2 };
    Error e = {0};
    Recipe recipe;
    Views v, again;
    recipe_defaults(&recipe);
    recipe.rotate = rotate;
    recipe.flips = flips;
    recipe.brightness = brightness;
    recipe.variants = variants;
    const size_t kept = brightness > 0 ? variants : 1, turns = rotate ? 4 : 1;
    const size_t normal = turns * kept, anomaly = (rotate && flips ? 8 : rotate || flips ? 4 : 1) * kept;
    assert_ok(views_open(&v, &recipe, NORMALS, ANOMALIES, &e), e.text);
    assert_ok(views_open(&again, &recipe, NORMALS, ANOMALIES, &e), e.text);
    assert_int_equal(views_plain(&v), !rotate && brightness == 0);
    assert_int_equal(v.count, NORMALS * normal + ANOMALIES * anomaly);
    assert_true((v.list == NULL) == (v.count == 0));
    for (size_t i = 0; i < v.count; i++) {
        const bool good = i < NORMALS * normal;
        assert_int_equal(views_image(&v, i), good ? i / normal : NORMALS + (i - NORMALS * normal) / anomaly);
        assert_true(same_view(&v.list[i], &again.list[i]));
        if (good) assert_int_equal(v.list[i].flip, FLIP_NONE);
        if (brightness > 0) assert_true(i == 0 || v.list[i].brightness != v.list[i - 1].brightness);
    }
    bool *shown = calloc(v.count + 1, 1);
    assert_non_null(shown);
    size_t changes = 0;
    for (size_t step = 0; step < 100; step++)
        for (size_t i = 0; i < NORMALS + ANOMALIES; i++)
            for (Flip f = FLIP_NONE; f <= (flips && i >= NORMALS ? FLIP_BOTH : FLIP_NONE); f++) {
                const Showing s = views_show(&v, (Draw){i, f}, step, i), t = views_show(&again, (Draw){i, f}, step, i);
                const Showing other = views_show(&v, (Draw){i, f}, step + 100, i);
                assert_true(s.entry == t.entry && same_view(&s.view, &t.view));
                changes += !same_view(&s.view, &other.view);
                if (!rotate) assert_true(s.view.turn == 0 && s.view.flip == f);
                if (v.list == NULL) {
                    assert_int_equal(s.entry, i);
                    continue;
                }
                assert_int_equal(views_image(&v, s.entry), i);
                assert_true(same_view(&s.view, &v.list[s.entry]));
                shown[s.entry] = true;
            }
    for (size_t i = 0; i < v.count; i++) assert_true(shown[i]);
    assert_true((changes > 0) == (rotate || (brightness > 0 && variants != 1)));
    free(shown);
    views_close(&v);
    views_close(&again);
}

static void every_view_is_shown(void **state) {
    (void)state;
    for (int rotate = 0; rotate < 2; rotate++)
        for (int flips = 0; flips < 2; flips++) {
            check_views(rotate, flips, 0, 0);
            check_views(rotate, flips, 5, 0);
            for (size_t variants = 0; variants < 4; variants++) check_views(rotate, flips, variants, 0.2);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_their_definition),  cmocka_unit_test(masks_are_their_definition),
        cmocka_unit_test(mask_and_image_move_together), cmocka_unit_test(nothing_changes_nothing),
        cmocka_unit_test(four_turns_are_none),          cmocka_unit_test(views_compose_turns_and_flips),
        cmocka_unit_test(draws_stay_within_the_recipe), cmocka_unit_test(a_shift_keeps_the_defect),
        cmocka_unit_test(every_view_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
