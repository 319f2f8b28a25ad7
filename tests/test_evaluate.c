/* blemish_evaluate: which images and pixels count, in which order they are handed over, and the gallery of them. */
#include "helper_model.h"
#include "metric/metric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = 48, W = 64, TESTED = 10 };

static char folder[PATH_SIZE];
static BlemishModel *model;
static BlemishSession *session;
static BlemishDataset *dataset;

/* name, label, masked, split; in the order of their names, which is the data set's. */
static const struct {
    const char *name, *label, *mask, *split;
} rows[] = {
    {"a.png", "good", "", "test"},
    {"b.png", "defect", "b_mask.png", "test"},
    {"c.png", "", "", "test"},
    {"d.png", "defect", "", "test"},
    {"e.png", "good", "", "train"},
    {"f.png", "good", "", "test"},
    {"g.png", "good", "", "test"},
    {"h.png", "defect", "h_mask.png", "test"},
    {"i.png", "defect", "", "train"},
    {"j.png", "good", "", "test"},
    {"k.png", "defect", "k_mask.png", "test"},
    {"l.png", "good", "", "test"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static size_t image_width(size_t row) {
    return 50 + 9 * row;
}
static size_t image_height(size_t row) {
    return 90 - 4 * row;
}

static void write_mask(const char *path, size_t row) {
    Error e = {0};
    BlemishImage mask;
    size_t w = image_width(row), h = image_height(row);
    assert_ok(image_new(&mask, w, h, 1, &e), e.text);
    for (size_t y = h / 4; y < h / 2 + row; y++)
        for (size_t x = w / 3; x < w / 2 + row; x++) image_pixels(&mask)[y * mask.stride + x] = 255;
    assert_ok(image_write_png(&mask, path, &e), e.text);
    image_free(&mask);
}

static int open_all(void **state) {
    (void)state;
    char path[PATH_SIZE];
    Text csv = {0};
    Error e = {0};
    folder_make(folder);
    text_format(&csv, "path,label,mask,split\n");
    for (size_t i = 0; i < ROWS; i++) {
        BlemishImage image;
        picture_make(&image, image_width(i), image_height(i), i % 3 ? 3 : 1, 100 + i);
        assert_ok(image_write_png(&image, path_in(path, folder, rows[i].name), &e), e.text);
        image_free(&image);
        if (*rows[i].mask) write_mask(path_in(path, folder, rows[i].mask), i);
        text_format(&csv, "%s,%s,%s,%s\n", rows[i].name, rows[i].label, rows[i].mask, rows[i].split);
    }
    assert_ok(atomic_write_file(path_in(path, folder, "set.csv"), csv.data, csv.length, &e), e.text);
    text_free(&csv);
    assert_ok(blemish_dataset_open(&dataset, path, NULL), blemish_dataset_error(dataset));
    assert_int_equal(blemish_dataset_count(dataset), ROWS);
    assert_ok(blemish_model_untrained(&model, "resnet18", NULL, H, W), blemish_model_error(model));
    assert_ok(blemish_session_open(&session, model, NULL), blemish_session_error(session));
    return 0;
}

static int close_all(void **state) {
    (void)state;
    blemish_session_close(session);
    blemish_model_close(model);
    blemish_dataset_close(dataset);
    folder_remove(folder);
    return 0;
}

/* ---- metrics --------------------------------------------------------------------------------------------- */

typedef struct Seen {
    size_t count, stop_at;
    float scores[TESTED], peaks[TESTED], maps[TESTED][H * W];
    uint8_t masks[TESTED][H * W];
    bool masked[TESTED];
    BlemishLabel labels[TESTED];
    char names[TESTED][16];
    BlemishGallery *gallery;
} Seen;

static int see(void *user, const BlemishEvaluated *v) {
    Seen *s = user;
    assert_true(s->count < TESTED);
    size_t i = s->count++;
    s->scores[i] = v->result.score;
    s->peaks[i] = v->result.map_max;
    s->labels[i] = v->sample.label;
    s->masked[i] = v->mask != NULL;
    memcpy(s->maps[i], v->result.map, sizeof s->maps[i]);
    if (v->mask) memcpy(s->masks[i], v->mask, sizeof s->masks[i]);
    snprintf(s->names[i], sizeof s->names[i], "%s", strrchr(v->sample.path, '/') + 1);
    assert_int_equal(v->image.width, v->result.image_width);
    if (s->gallery) assert_ok(blemish_gallery_add(s->gallery, v), blemish_gallery_error(s->gallery));
    return s->stop_at && s->count == s->stop_at;
}

static double pairs_auroc(const float *scores, const uint8_t *labels, size_t n) {
    double wins = 0, pairs = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            if (!labels[i] || labels[j]) continue;
            pairs++;
            wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
        }
    return wins / pairs;
}

static void the_right_images_and_pixels_count(void **state) {
    (void)state;
    Error e = {0};
    BlemishMetrics m;
    Seen *s = array_new(1, sizeof *s, &e);
    assert_ok(blemish_evaluate(session, dataset, BLEMISH_SPLIT_TEST, &m, see, s, NULL, NULL),
              blemish_session_error(session));
    assert_int_equal(s->count, TESTED);
    float scores[TESTED], peaks[TESTED];
    uint8_t labels[TESTED];
    const float *maps[TESTED];
    const uint8_t *masks[TESTED];
    size_t known = 0, pixels = 0, at = 0;
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].split, "test") != 0) continue;
        assert_string_equal(s->names[at], rows[i].name);
        assert_int_equal(s->masked[at], *rows[i].mask != 0);
        for (size_t p = 0; s->masked[at] && p < H * W; p++) { /* nearest: floor(i * in / out) */
            size_t w = image_width(i), h = image_height(i), x = p % W * w / W, y = p / W * h / H;
            bool inside = y >= h / 4 && y < h / 2 + i && x >= w / 3 && x < w / 2 + i;
            assert_int_equal(s->masks[at][p], inside);
        }
        if (s->labels[at] != BLEMISH_LABEL_UNKNOWN) {
            bool defect = s->labels[at] == BLEMISH_LABEL_DEFECT;
            assert_int_equal(defect, strcmp(rows[i].label, "defect") == 0);
            scores[known] = s->scores[at];
            peaks[known] = s->peaks[at];
            labels[known++] = defect;
            if (!defect || s->masked[at]) {
                maps[pixels] = s->maps[at];
                masks[pixels++] = s->masked[at] ? s->masks[at] : NULL;
            }
        }
        at++;
    }
    assert_int_equal(known, 9);
    assert_int_equal(pixels, 8);
    PixelMetrics p;
    double f1, threshold, ap;
    assert_ok(metric_pixels(maps, masks, pixels, H, W, &p, &e), e.text);
    assert_ok(metric_best_f1(scores, labels, known, &f1, &threshold, &e), e.text);
    assert_int_equal(m.images, 9);
    assert_int_equal(m.defects, 4);
    assert_int_equal(m.masks, 3);
    assert_true(fabs(m.i_auroc - pairs_auroc(scores, labels, known)) < 1e-12);
    assert_true(fabs(m.seg_i_auroc - pairs_auroc(peaks, labels, known)) < 1e-12);
    assert_ok(metric_average_precision(scores, labels, known, &ap, &e), e.text);
    assert_true(m.ap_det == ap);
    assert_ok(metric_average_precision(peaks, labels, known, &ap, &e), e.text);
    assert_true(m.seg_ap_det == ap);
    assert_true(m.best_f1 == f1 && m.best_f1_threshold == threshold);
    assert_true(m.p_auroc == p.p_auroc && m.ap_loc == p.ap_loc && m.aupro == p.aupro);
    assert_true(m.pixel_best_f1 == p.best_f1 && m.pixel_best_f1_threshold == p.best_f1_threshold);
    assert_true(m.seconds_per_image > 0 && m.seconds_per_image < 60);
    array_free(s);
}

static void pixel_metrics_need_masks(void **state) {
    (void)state;
    BlemishMetrics m;
    assert_ok(blemish_evaluate(session, dataset, BLEMISH_SPLIT_TRAIN, &m, NULL, NULL, NULL, NULL),
              blemish_session_error(session));
    assert_int_equal(m.images, 2);
    assert_int_equal(m.masks, 0);
    assert_true(m.i_auroc == 0 || m.i_auroc == 1 || m.i_auroc == 0.5);
    assert_true(isnan(m.p_auroc) && isnan(m.ap_loc) && isnan(m.aupro) && isnan(m.pixel_best_f1));
}

/* ---- progress and failures ------------------------------------------------------------------------------- */

typedef struct Watch {
    size_t calls, stop_at;
} Watch;

static int watch(void *user, const BlemishProgress *p) {
    Watch *w = user;
    w->calls++;
    assert_string_equal(p->stage, "evaluate");
    assert_int_equal(p->done, w->calls);
    assert_int_equal(p->total, TESTED);
    assert_true(isnan(p->loss) && p->items_per_second > 0 && p->seconds_left >= 0);
    return w->calls == w->stop_at;
}

static void both_callbacks_can_stop_it(void **state) {
    (void)state;
    Error e = {0};
    BlemishMetrics m;
    Watch w = {0};
    Seen *s = array_new(1, sizeof *s, &e);
    assert_ok(blemish_evaluate(session, dataset, BLEMISH_SPLIT_TEST, &m, see, s, watch, &w),
              blemish_session_error(session));
    assert_int_equal(w.calls, TESTED);
    w = (Watch){.stop_at = 3};
    s->count = 0;
    assert_int_equal(blemish_evaluate(session, dataset, BLEMISH_SPLIT_TEST, &m, see, s, watch, &w),
                     BLEMISH_ERROR_INTERRUPTED);
    assert_int_equal(s->count, 3);
    w = (Watch){0};
    s->count = 0;
    s->stop_at = 4;
    assert_int_equal(blemish_evaluate(session, dataset, BLEMISH_SPLIT_TEST, &m, see, s, watch, &w),
                     BLEMISH_ERROR_INTERRUPTED);
    assert_int_equal(w.calls, 3);
    array_free(s);
}

static void bad_data_is_named(void **state) {
    (void)state;
    BlemishMetrics m;
    BlemishDataset *broken;
    char path[PATH_SIZE];
    Error e = {0};
    const char *csv = "path,label,mask,split\na.png,good,,test\nbroken.png,defect,,test\n";
    assert_ok(atomic_write_file(path_in(path, folder, "broken.png"), "\x89PNG\r\n\x1a\n....", 12, &e), e.text);
    assert_ok(atomic_write_file(path_in(path, folder, "broken.csv"), csv, strlen(csv), &e), e.text);
    assert_ok(blemish_dataset_open(&broken, path, NULL), blemish_dataset_error(broken));
    assert_int_equal(blemish_evaluate(session, broken, BLEMISH_SPLIT_TEST, &m, NULL, NULL, NULL, NULL),
                     BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(blemish_session_error(session), "broken.png"));
    assert_int_equal(blemish_evaluate(session, broken, BLEMISH_SPLIT_TRAIN, &m, NULL, NULL, NULL, NULL),
                     BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_evaluate(session, NULL, BLEMISH_SPLIT_TEST, &m, NULL, NULL, NULL, NULL),
                     BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_evaluate(session, dataset, BLEMISH_SPLIT_TEST, NULL, NULL, NULL, NULL, NULL),
                     BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_evaluate(NULL, dataset, BLEMISH_SPLIT_TEST, &m, NULL, NULL, NULL, NULL),
                     BLEMISH_ERROR_ARGUMENT);
    blemish_dataset_close(broken);
    assert_int_equal(blemish_dataset_open(&broken, path_in(path, folder, "absent"), NULL), BLEMISH_ERROR_IO);
    assert_non_null(strstr(blemish_dataset_error(broken), path));
    assert_int_equal(blemish_dataset_count(broken), 0);
    assert_string_equal(blemish_dataset_sample(broken, 0).path, "");
    blemish_dataset_close(broken);
}

/* ---- gallery --------------------------------------------------------------------------------------------- */

static void galleries_show_every_image(void **state) {
    (void)state;
    enum { TILE = 40, COLUMNS = 3 };
    Error e = {0};
    BlemishMetrics m;
    char path[PATH_SIZE], error[BLEMISH_ERROR_SIZE];
    Seen *s = array_new(1, sizeof *s, &e);
    assert_ok(blemish_gallery_new(&s->gallery, TILE, COLUMNS), "");
    assert_int_equal(blemish_gallery_write(s->gallery, path_in(path, folder, "g.png")), BLEMISH_ERROR_ARGUMENT);
    assert_ok(blemish_evaluate(session, dataset, BLEMISH_SPLIT_TEST, &m, see, s, NULL, NULL),
              blemish_session_error(session));
    assert_ok(blemish_gallery_write(s->gallery, path), blemish_gallery_error(s->gallery));
    BlemishImage picture;
    assert_ok(blemish_image_load(&picture, path, error), error);
    size_t step_x = 3 * TILE + 6 * 4, step_y = TILE + 4, framed = 0, unframed = 0;
    assert_int_equal(picture.width, COLUMNS * step_x);
    assert_int_equal(picture.height, 4 * step_y); /* ten images in rows of three */
    for (size_t i = 0, row = 0; i < TESTED; i++, row++) {
        while (strcmp(rows[row].split, "test") != 0) row++;
        /* The middle of the heat map's left edge: the frame says whether the verdict was right. */
        size_t w = image_width(row), h = image_height(row), width = w > h ? TILE : (TILE * w + h / 2) / h;
        size_t x = 8 + i % COLUMNS * step_x + 2 * (TILE + 4) + (TILE - width) / 2;
        size_t y = 2 + i / COLUMNS * step_y + TILE / 2;
        const uint8_t *pixel = picture.data + y * picture.stride + 3 * x;
        bool green = pixel[0] == 40 && pixel[1] == 160, red = pixel[0] == 220 && pixel[1] == 30;
        if (s->labels[i] == BLEMISH_LABEL_UNKNOWN) {
            assert_false(green || red);
            unframed++;
        } else {
            bool right = (s->scores[i] >= 0.5f) == (s->labels[i] == BLEMISH_LABEL_DEFECT);
            assert_true(right ? green : red);
            framed++;
        }
    }
    assert_int_equal(framed, 9);
    assert_int_equal(unframed, 1);
    blemish_image_free(&picture);
    blemish_gallery_close(s->gallery);
    array_free(s);
    BlemishGallery *g;
    const size_t bad[][2] = {{15, 1}, {4000, 1}, {64, 0}, {64, 1000}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(blemish_gallery_new(&g, bad[i][0], bad[i][1]), BLEMISH_ERROR_ARGUMENT);
        assert_true(strlen(blemish_gallery_error(g)) > 0);
        assert_int_equal(blemish_gallery_write(g, path), BLEMISH_ERROR_ARGUMENT);
        blemish_gallery_close(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_images_and_pixels_count), cmocka_unit_test(pixel_metrics_need_masks),
        cmocka_unit_test(both_callbacks_can_stop_it),        cmocka_unit_test(bad_data_is_named),
        cmocka_unit_test(galleries_show_every_image),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
