/* Flips, dilation, distances, loss weights and whole training targets against NumPy's, OpenCV's and SciPy's:
 * fixtures/morphology.txt, written by fixtures/make_morphology.py. */
#include "helper_model.h"
#include "train/targets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 128, MOST = SIDE * SIDE };

/* The file gives 9 digits, which tell every float apart. */
#define LAST_DIGIT 0x1p-23

typedef struct Mask {
    size_t height, width;
    uint8_t pixels[MOST];
} Mask;

static char folder[PATH_SIZE];
static FILE *file;
static size_t compared[5]; /* flips, dilations, distances, weights, targets */

static int set_up(void **state) {
    (void)state;
    folder_make(folder);
    file = fopen(TEST_DIR "/fixtures/morphology.txt", "r");
    return file == NULL;
}

static int tear_down(void **state) {
    (void)state;
    folder_remove(folder);
    return file == NULL || fclose(file);
}

static bool next_word(char word[SIDE + 1]) {
    return fscanf(file, " %128s", word) == 1;
}

static size_t next_size(void) {
    char word[SIDE + 1];
    uint64_t size = 0;
    assert_true(next_word(word) && count_parse(word, &size) && size >= 1 && size < 1000);
    return (size_t)size;
}

static double next_number(void) {
    char word[SIDE + 1];
    double value = 0;
    assert_true(next_word(word) && number_parse(word, &value));
    return value;
}

/* height rows of width characters. */
static void next_rows(size_t height, size_t width, char *out) {
    char row[SIDE + 1];
    assert_true(height <= SIDE && width <= SIDE);
    for (size_t y = 0; y < height; y++) {
        assert_true(next_word(row) && strlen(row) == width);
        memcpy(out + y * width, row, width);
    }
}

static void next_mask(Mask *m) {
    char rows[MOST];
    m->height = next_size();
    m->width = next_size();
    next_rows(m->height, m->width, rows);
    for (size_t i = 0; i < m->height * m->width; i++) m->pixels[i] = rows[i] == '1';
}

static Flip next_flip(void) {
    static const char *const names[] = {"none", "ud", "lr", "both"};
    char word[SIDE + 1];
    assert_true(next_word(word));
    for (int i = 0; i < 4; i++)
        if (strcmp(word, names[i]) == 0) return (Flip)i;
    fail_msg("flip %s", word);
    return FLIP_NONE;
}

static void write_mask(const Mask *m, char path[PATH_SIZE]) {
    Error e = {0};
    BlemishImage image;
    assert_ok(image_new(&image, m->width, m->height, 1, &e), e.text);
    for (size_t i = 0; i < m->height * m->width; i++) image_pixels(&image)[i] = (uint8_t)(255 * m->pixels[i]);
    assert_ok(image_write_png(&image, path_in(path, folder, "mask.png"), &e), e.text);
    image_free(&image);
}

/* The targets of one mask by the supervised recipe, in one flip: entry 0. */
static void make_targets(Targets *t, const Mask *m, const Geometry *g, size_t dilate, Flip flip) {
    Error e = {0};
    char path[PATH_SIZE];
    Recipe recipe;
    recipe_defaults(&recipe);
    recipe.dilate = dilate;
    recipe.distance_weights = 1;
    write_mask(m, path);
    const Sample sample = {.path = path, .mask_path = path, .label = BLEMISH_LABEL_DEFECT}, *list[] = {&sample};
    Augmentation view = AUGMENT_NONE;
    view.flip = flip;
    assert_ok(targets_open(t, list, 1, g, &recipe, &view, 1, NULL, &e), e.text);
}

/* Flips have no function of their own: what is shown of a mask that neither grows nor changes its size is its flip. */
static void check_flip(const Mask *m) {
    char rows[MOST];
    Targets t;
    const Geometry g = {.height = m->height, .width = m->width, .h = m->height, .w = m->width};
    const Flip flip = next_flip();
    next_rows(m->height, m->width, rows);
    if (memchr(m->pixels, 1, m->height * m->width) == NULL) return; /* no target is made of an empty mask */
    make_targets(&t, m, &g, 1, flip);
    for (size_t i = 0; i < t.pixels; i++) assert_int_equal(targets_mask(&t, 0)[i], rows[i] == '1');
    targets_close(&t);
    compared[0]++;
}

static void check_dilation(const Mask *m) {
    Error e = {0};
    char rows[MOST];
    uint8_t found[MOST];
    const size_t size = next_size();
    next_rows(m->height, m->width, rows);
    assert_ok(mask_dilate_square(m->pixels, m->height, m->width, size, found, &e), e.text);
    for (size_t i = 0; i < m->height * m->width; i++) assert_int_equal(found[i], rows[i] == '1');
    compared[1]++;
}

/* Roots of whole numbers, rounded once by us and by SciPy; OpenCV's precise transform works in float and may be off by
 * one more. */
static void check_distance(const Mask *m, bool opencv) {
    Error e = {0};
    float found[MOST];
    assert_ok(mask_distance(m->pixels, m->height, m->width, found, &e), e.text);
    for (size_t i = 0; i < m->height * m->width; i++) {
        const double expected = next_number();
        assert_true(fabs((double)found[i] - expected) <= (opencv ? 2 : 1) * LAST_DIGIT * expected);
    }
    compared[2]++;
}

/* A quotient, a square and a product in float: four roundings of a number up to 3. */
static void check_weights(const Mask *m) {
    Error e = {0};
    float found[MOST];
    assert_ok(mask_distance_weights(m->pixels, m->height, m->width, found, &e), e.text);
    for (size_t i = 0; i < m->height * m->width; i++) {
        const double expected = next_number();
        assert_true(fabs((double)found[i] - expected) <= 4 * LAST_DIGIT * expected);
    }
    compared[3]++;
}

static void check_target(const Mask *m) {
    Error e = {0};
    char rows[MOST], word[SIDE + 1];
    Targets t;
    Geometry g;
    const size_t height = next_size(), width = next_size();
    const Flip flip = next_flip();
    assert_ok(geometry_make(&g, height, width, 1, 1, &e), e.text);
    make_targets(&t, m, &g, 7, flip);
    next_rows(g.h, g.w, rows);
    assert_true(next_word(word) && strcmp(word, "weights") == 0);
    for (size_t i = 0; i < g.h * g.w; i++) {
        if (rows[i] != 'x') assert_int_equal(targets_mask(&t, 0)[i], rows[i] == '1');
        /* Positions and a sum of four products in float, of weights up to 3. */
        assert_true(fabs((double)targets_weights(&t, 0)[i] - next_number()) <= 16 * 3 * 0x1p-24);
    }
    targets_close(&t);
    compared[4]++;
}

static void all_as_published(void **state) {
    (void)state;
    char word[SIDE + 1];
    Mask m = {0};
    assert_true(fscanf(file, "%*[^\n]") == 0); /* the versions */
    while (next_word(word)) {
        if (strcmp(word, "mask") == 0)
            next_mask(&m);
        else if (strcmp(word, "flip") == 0)
            check_flip(&m);
        else if (strcmp(word, "dilate") == 0)
            check_dilation(&m);
        else if (strcmp(word, "edt") == 0 || strcmp(word, "cv") == 0)
            check_distance(&m, *word == 'c');
        else if (strcmp(word, "weights") == 0)
            check_weights(&m);
        else if (strcmp(word, "target") == 0)
            check_target(&m);
        else
            fail_msg("%s", word);
    }
    assert_true(feof(file));
    const size_t expected[] = {36, 42, 28, 14, 12};
    for (size_t i = 0; i < 5; i++) assert_int_equal(compared[i], expected[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_as_published)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
