/* Images judged tile by tile: the grid, the weights and the session against their definitions. */
#include "helper_model.h"
#include "infer/infer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the grid -------------------------------------------------------------------------------------------- */

static size_t uniform(Random *r, size_t low, size_t high) {
    return low + random_below(r, (uint32_t)(high - low + 1));
}

/* Before the sum is made 1: how far a pixel's centre is from the tile's edges, in parts of what it shares there. */
static double height_of(const size_t *first, size_t count, size_t tile, size_t i, size_t pixel) {
    double height = 1;
    const double at = (double)(pixel - first[i]) + 0.5;
    if (i > 0) height = fmin(height, at / (double)(first[i - 1] + tile - first[i]));
    if (i + 1 < count) height = fmin(height, ((double)tile - at) / (double)(first[i] + tile - first[i + 1]));
    return height;
}

enum { TILE_MOST = 70, LENGTH_MOST = 700 };

static void check_axis(size_t length, size_t tile, size_t overlap) {
    const TileAxis a = tile_axis(length, tile, overlap);
    size_t first[LENGTH_MOST];
    double sum[LENGTH_MOST] = {0}, sum_of_floats[LENGTH_MOST] = {0};
    float weight[TILE_MOST];
    assert_true(a.count >= 1 && a.count <= length);
    for (size_t i = 0; i < a.count; i++) first[i] = tile_first(&a, i);
    assert_int_equal(first[0], 0);
    if (length <= tile) {
        assert_int_equal(a.count, 1);
    } else {
        assert_int_equal(first[a.count - 1] + tile, length);
        assert_true(tile + (a.count - 2) * (tile - overlap) < length); /* one fewer does not do */
    }
    for (size_t i = 1; i < a.count; i++)
        assert_true(first[i] > first[i - 1] && first[i] + overlap <= first[i - 1] + tile);
    const size_t inside = length < tile ? length : tile;
    for (size_t i = 0; i < a.count; i++)
        for (size_t k = 0; k < inside; k++) sum[first[i] + k] += height_of(first, a.count, tile, i, first[i] + k);
    for (size_t i = 0; i < a.count; i++) {
        tile_weights(&a, i, weight);
        for (size_t k = 0; k < inside; k++) {
            const size_t pixel = first[i] + k;
            /* Four roundings of floats up to 1. */
            assert_true(fabs((double)weight[k] - height_of(first, a.count, tile, i, pixel) / sum[pixel]) < 0x1p-22);
            assert_true(weight[k] > 0);
            sum_of_floats[pixel] += (double)weight[k];
        }
        if (i > 0) assert_true(weight[0] <= 0.5f / (float)(first[i - 1] + tile - first[i]) + 1e-6f || overlap == 0);
    }
    for (size_t x = 0; x < length; x++)
        assert_true(a.count == 1 ? sum_of_floats[x] == 1 : fabs(sum_of_floats[x] - 1) < 0x1p-22);
}

static void the_grid_covers_any_length(void **state) {
    (void)state;
    Random r = random_new(1, 0);
    for (int round = 0; round < 3000; round++) {
        const size_t tile = uniform(&r, 1, TILE_MOST), overlap = uniform(&r, 0, tile / 2);
        check_axis(uniform(&r, 1, round % 2 ? 3 * tile : LENGTH_MOST), tile, overlap);
    }
    check_axis(64, 64, 32);
    check_axis(65, 64, 32);
    check_axis(128, 64, 0);
    check_axis(129, 64, 0);
    check_axis(1, 64, 16);
}

static void windows_show_the_image_and_its_mirror(void **state) {
    (void)state;
    Random r = random_new(2, 0);
    for (int round = 0; round < 300; round++) {
        const size_t width = uniform(&r, 1, 20), height = uniform(&r, 1, 20), channels = round % 2 ? 3 : 1;
        const size_t h = uniform(&r, 1, 45), w = uniform(&r, 1, 45);
        const size_t y = uniform(&r, 0, height - 1), x = uniform(&r, 0, width - 1);
        BlemishImage image;
        uint8_t scratch[45 * 45 * 3];
        picture_make(&image, width, height, (int)channels, (uint64_t)round);
        const BlemishImage window = image_window(&image, y, x, h, w, scratch);
        assert_true(window.height == h && window.width == w && window.channels == (int)channels);
        assert_true((window.data == scratch) == (y + h > height || x + w > width));
        for (size_t v = 0; v < h; v++)
            for (size_t u = 0; u < w; u++) {
                /* A walk that turns round at the border and stays there for one step. */
                ptrdiff_t at[2] = {(ptrdiff_t)y, (ptrdiff_t)x}, step[2] = {1, 1};
                const ptrdiff_t end[2] = {(ptrdiff_t)height, (ptrdiff_t)width};
                const size_t steps[2] = {v, u};
                for (int d = 0; d < 2; d++)
                    for (size_t i = 0; i < steps[d]; i++) {
                        at[d] += step[d];
                        if (at[d] < 0 || at[d] == end[d]) step[d] = -step[d], at[d] += step[d];
                    }
                assert_memory_equal(window.data + v * window.stride + u * channels,
                                    image.data + (size_t)at[0] * image.stride + (size_t)at[1] * channels, channels);
            }
        image_free(&image);
    }
}

/* ---- the session ----------------------------------------------------------------------------------------- */

enum { HEIGHT = 40, WIDTH = 56 };

static Session open(const Model *model, size_t batch, BlemishTiles tiles) {
    Session s;
    Error e = {0};
    const BlemishSessionSettings settings = {.threads = 1, .batch = batch, .tiles = tiles};
    assert_ok(session_open(&s, model, &settings, &e), e.text);
    return s;
}

static BlemishResult run(Session *s, const BlemishImage *image) {
    BlemishResult r;
    Error e = {0};
    assert_ok(session_run(s, image, 1, &r, &e), e.text);
    return r;
}

static Model tiled_model(float overlap) {
    Model m;
    model_make(&m, HEIGHT, WIDTH);
    m.tiles = true;
    m.tile_overlap = overlap;
    return m;
}

/* The same from windows run one by one without tiles. *score: their largest. */
static void judge_by_hand(const Model *m, const BlemishImage *image, double *map, float *score) {
    Session plain = open(m, 1, BLEMISH_TILES_OFF);
    const TileAxis ys = tile_axis(image->height, HEIGHT, (size_t)(m->tile_overlap * HEIGHT + 0.5f));
    const TileAxis xs = tile_axis(image->width, WIDTH, (size_t)(m->tile_overlap * WIDTH + 0.5f));
    float wy[HEIGHT], wx[WIDTH];
    uint8_t scratch[HEIGHT * WIDTH * 3];
    memset(map, 0, image->height * image->width * sizeof *map);
    *score = 0;
    for (size_t i = 0; i < ys.count; i++)
        for (size_t j = 0; j < xs.count; j++) {
            const size_t top = tile_first(&ys, i), left = tile_first(&xs, j);
            const BlemishImage window = image_window(image, top, left, HEIGHT, WIDTH, scratch);
            const BlemishResult r = run(&plain, &window);
            assert_true(r.map_height == HEIGHT && r.map_width == WIDTH);
            tile_weights(&ys, i, wy);
            tile_weights(&xs, j, wx);
            for (size_t y = 0; y < HEIGHT && top + y < image->height; y++)
                for (size_t x = 0; x < WIDTH && left + x < image->width; x++)
                    map[(top + y) * image->width + left + x] +=
                        (double)wy[y] * (double)wx[x] * (double)r.map[y * WIDTH + x];
            *score = fmaxf(*score, r.score);
        }
    session_close(&plain);
}

static void check_image(const Model *m, Session *s, const BlemishImage *image) {
    Error e = {0};
    double *map = array_new(image->height * image->width, sizeof *map, &e);
    float score, largest = 0;
    judge_by_hand(m, image, map, &score);
    const BlemishResult r = run(s, image);
    assert_true(r.map_width == image->width && r.map_height == image->height);
    assert_true(r.image_width == image->width && r.image_height == image->height);
    /* A batch's products may be summed in another order. */
    assert_true(fabsf(r.score - (m->heads.map_score ? r.map_max : score)) < 1e-6f);
    for (size_t i = 0; i < image->height * image->width; i++) {
        assert_true(fabs((double)r.map[i] - map[i]) < 1e-6);
        largest = fmaxf(largest, r.map[i]);
    }
    assert_true(largest == r.map_max);
    assert_true(r.defect == (r.score >= m->threshold));
    array_free(map);
}

static void maps_are_blended_and_scores_the_largest(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{HEIGHT, WIDTH}, {1, 1},   {WIDTH, HEIGHT},         {HEIGHT - 1, WIDTH + 1},
                                      {7, 150},        {131, 5}, {2 * HEIGHT, 2 * WIDTH}, {101, 117}};
    for (size_t k = 0; k < 3; k++) {
        Model m = tiled_model(k == 0 ? 0.25f : k == 1 ? 0.5f : 0);
        m.heads.map_score = k == 2;
        Session one = open(&m, 1, BLEMISH_TILES_AUTO), three = open(&m, 3, BLEMISH_TILES_ON);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            BlemishImage image;
            picture_make(&image, sizes[i][1], sizes[i][0], i % 2 ? 3 : 1, i);
            check_image(&m, &one, &image);
            check_image(&m, &three, &image);
            image_free(&image);
        }
        session_close(&one);
        session_close(&three);
        model_close(&m);
    }
}

static void one_tile_is_the_untiled_image(void **state) {
    (void)state;
    Model m = tiled_model(0.25f);
    Session tiled = open(&m, 1, BLEMISH_TILES_AUTO), plain = open(&m, 1, BLEMISH_TILES_OFF);
    BlemishImage image;
    picture_make(&image, WIDTH, HEIGHT, 3, 5);
    const BlemishResult a = run(&tiled, &image), b = run(&plain, &image);
    assert_true(a.score == b.score && a.map_max == b.map_max && a.defect == b.defect);
    assert_memory_equal(a.map, b.map, HEIGHT * WIDTH * sizeof(float));
    image_free(&image);
    session_close(&tiled);
    session_close(&plain);
    model_close(&m);
}

/* Every image of a run keeps its own map. */
static void a_run_of_several_images(void **state) {
    (void)state;
    Model m = tiled_model(0.25f);
    Session s = open(&m, 3, BLEMISH_TILES_AUTO), alone = open(&m, 1, BLEMISH_TILES_AUTO);
    BlemishImage images[3];
    BlemishResult results[3];
    Error e = {0};
    for (size_t i = 0; i < 3; i++) picture_make(&images[i], 90 + 30 * i, 77, 3, i);
    for (int again = 0; again < 2; again++) assert_ok(session_run(&s, images, 3, results, &e), e.text);
    for (size_t i = 0; i < 3; i++) {
        const BlemishResult r = run(&alone, &images[i]);
        assert_true(fabsf(r.score - results[i].score) < 1e-6f);
        assert_int_equal(r.map_width, results[i].map_width);
        for (size_t k = 0; k < r.map_width * r.map_height; k++)
            assert_true(fabsf(r.map[k] - results[i].map[k]) < 1e-6f);
        image_free(&images[i]);
    }
    session_close(&s);
    session_close(&alone);
    model_close(&m);
}

/* A border is one of the image, not of each tile: the map elsewhere keeps its bits, seams included. */
static void a_border_is_of_the_image(void **state) {
    (void)state;
    enum { W = 150, H = 90, BORDER = 13 };
    Model m = tiled_model(0.25f);
    Session s = open(&m, 2, BLEMISH_TILES_AUTO);
    BlemishImage images[2];
    BlemishResult results[2];
    Error e = {0};
    static float plain[2][W * H];
    for (size_t i = 0; i < 2; i++) picture_make(&images[i], W, H, 3, 8 + i);
    for (int map_score = 0; map_score < 2; map_score++) {
        m.heads.map_score = map_score;
        m.border = 0;
        assert_ok(session_run(&s, images, 2, results, &e), e.text);
        const float scores[2] = {results[0].score, results[1].score};
        for (size_t i = 0; i < 2; i++) memcpy(plain[i], results[i].map, sizeof plain[i]);
        m.border = BORDER;
        assert_ok(session_run(&s, images, 2, results, &e), e.text);
        for (size_t i = 0; i < 2; i++) {
            float most = 0;
            for (size_t k = 0; k < W * H; k++) {
                const size_t y = k / W, x = k % W;
                const bool inside = y >= BORDER && y < H - BORDER && x >= BORDER && x < W - BORDER;
                assert_true(results[i].map[k] == (inside ? plain[i][k] : 0.0f));
                if (inside) most = fmaxf(most, plain[i][k]);
            }
            assert_true(results[i].map_max == most && results[i].score == (map_score ? most : scores[i]));
        }
    }
    m.border = H / 2; /* leaves nothing of the image; one less is wider than a tile's half, and fine */
    assert_int_equal(session_run(&s, images, 2, results, &e), BLEMISH_ERROR_ARGUMENT);
    m.border = H / 2 - 1;
    assert_ok(session_run(&s, images, 2, results, &e), e.text);
    for (size_t i = 0; i < 2; i++) image_free(&images[i]);
    session_close(&s);
    model_close(&m);
}

/* Regions and the map at image size are of the result's own map; nothing is resampled. */
static void what_is_made_of_a_result(void **state) {
    (void)state;
    Model m = tiled_model(0.25f);
    Session s = open(&m, 1, BLEMISH_TILES_AUTO);
    BlemishImage image, overlay;
    Error e = {0};
    picture_make(&image, 150, 90, 3, 8);
    BlemishResult r = run(&s, &image);
    float *large = array_new(150 * 90, sizeof *large, &e);
    assert_ok(session_large_map(&s, &r, large, &e), e.text);
    assert_memory_equal(large, r.map, 150 * 90 * sizeof *large);
    m.pixel_threshold = r.map_max;
    assert_ok(session_regions(&s, &r, &s.regions, &e), e.text);
    assert_true(s.regions.count >= 1 && s.regions.list[0].peak == r.map_max);
    assert_true(r.map[s.regions.list[0].y * 150 + s.regions.list[0].x] <= r.map_max);
    assert_ok(session_overlay(&s, &image, &r, &overlay, &e), e.text);
    image_free(&overlay);
    r.map_width--;
    assert_int_equal(session_large_map(&s, &r, large, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, "result: map: found 90x149, expected 90x150"));
    array_free(large);
    image_free(&image);
    session_close(&s);
    model_close(&m);
}

static void any_model_can_be_run_by_tiles(void **state) {
    (void)state;
    Model m;
    model_make(&m, HEIGHT, WIDTH);
    Session s = open(&m, 1, BLEMISH_TILES_ON), off = open(&m, 1, BLEMISH_TILES_AUTO);
    BlemishImage image;
    picture_make(&image, 100, 100, 3, 8);
    assert_int_equal(run(&s, &image).map_width, 100);
    assert_true(s.tiling.overlap == 0.25f);
    assert_int_equal(run(&off, &image).map_width, WIDTH);
    image_free(&image);
    session_close(&s);
    session_close(&off);
    Error e = {0};
    const BlemishSessionSettings settings = {.threads = 1, .batch = 1, .tiles = (BlemishTiles)3};
    assert_int_equal(session_open(&s, &m, &settings, &e), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(e.text, "tiles: found 3, expected one of BlemishTiles");
    model_close(&m);
}

/* ---- the model file -------------------------------------------------------------------------------------- */

static void the_model_file_says_how(void **state) {
    (void)state;
    Error e = {0};
    char folder[PATH_SIZE], path[PATH_SIZE];
    folder_make(folder);
    path_in(path, folder, "m.blemish");
    Model m = tiled_model(0.125f), back;
    assert_ok(model_write(&m, path, &e), e.text);
    assert_ok(model_read(&back, path, &e), e.text);
    assert_true(back.tiles && back.tile_overlap == 0.125f);
    assert_non_null(strstr(back.header_json, "\"format_version\":2,"));
    assert_non_null(strstr(back.header_json, "\"tiles\":true,\"tile_overlap\":0.125"));
    model_close(&back);
    m.tile_overlap = 0.75f;
    assert_ok(model_write(&m, path, &e), e.text);
    assert_int_equal(model_read(&back, path, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "tile_overlap: found '0.75', expected a number from 0 to 0.5"));
    m.tiles = false;
    m.tile_overlap = 0;
    assert_ok(model_write(&m, path, &e), e.text);
    assert_ok(model_read(&back, path, &e), e.text);
    assert_true(!back.tiles && back.tile_overlap == 0);
    assert_non_null(strstr(back.header_json, "\"format_version\":1,"));
    model_close(&back);
    model_close(&m);
    folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grid_covers_any_length),
        cmocka_unit_test(windows_show_the_image_and_its_mirror),
        cmocka_unit_test(maps_are_blended_and_scores_the_largest),
        cmocka_unit_test(one_tile_is_the_untiled_image),
        cmocka_unit_test(a_run_of_several_images),
        cmocka_unit_test(a_border_is_of_the_image),
        cmocka_unit_test(what_is_made_of_a_result),
        cmocka_unit_test(any_model_can_be_run_by_tiles),
        cmocka_unit_test(the_model_file_says_how),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
