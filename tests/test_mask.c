/* Masks in every form against the pixels they stand for; damaged ones give one line. */
#include "helper_image.h"
#include "helper_layouts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spng.h>

static char root[PATH_SIZE];

static int set_up(void **state) {
    (void)state;
    folder_make(root);
    put_picture(root, "a.png", true);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    folder_remove(root);
    return 0;
}

static BlemishStatus read(MaskReader *reader, const char *name, BlemishImage *mask, Error *e) {
    char path[PATH_SIZE], image[PATH_SIZE];
    return mask_read(reader, path_in(path, root, name), path_in(image, root, "a.png"), mask, e);
}

static bool in_square(size_t x, size_t y) {
    return x >= SQUARE_X && x < SQUARE_X + SQUARE && y >= SQUARE_Y && y < SQUARE_Y + SQUARE;
}

/* The mask must be the fixtures' square. */
static void expect_square(const char *name) {
    Error e = {0};
    MaskReader reader = {0};
    BlemishImage mask;
    assert_ok(read(&reader, name, &mask, &e), e.text);
    assert_int_equal(reader.width, FIXTURE_WIDTH);
    assert_int_equal(reader.height, FIXTURE_HEIGHT);
    assert_int_equal(mask.channels, 1);
    assert_int_equal(mask.width, FIXTURE_WIDTH);
    assert_int_equal(mask.height, FIXTURE_HEIGHT);
    for (size_t y = 0; y < mask.height; y++)
        for (size_t x = 0; x < mask.width; x++)
            if (mask.data[y * mask.stride + x] != in_square(x, y)) fail_msg("%s: (%zu, %zu) is wrong", name, x, y);
    image_free(&mask);
    mask_reader_close(&reader);
}

static void expect_empty(const char *name) {
    Error e = {0};
    MaskReader reader = {0};
    BlemishImage mask;
    assert_ok(read(&reader, name, &mask, &e), e.text);
    assert_null(mask.data);
    mask_reader_close(&reader);
}

static void refuse(const char *name, const char *part) {
    Error e = {0};
    MaskReader reader = {0};
    BlemishImage mask;
    if (read(&reader, name, &mask, &e) != BLEMISH_ERROR_FORMAT) fail_msg("%s was read: \"%s\"", part, e.text);
    assert_null(mask.data);
    if (!strstr(e.text, part) || !strstr(e.text, name)) fail_msg("\"%s\" does not hold \"%s\"", e.text, part);
    mask_reader_close(&reader);
}

/* ---- images ---------------------------------------------------------------------------------------------- */

static void images_of_every_kind(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t channels;
        int bits, colour_type;
        uint16_t value;
    } kinds[] = {
        {"grey1.png", 1, 1, SPNG_COLOR_TYPE_GRAYSCALE, 1},   {"grey8.png", 1, 8, SPNG_COLOR_TYPE_GRAYSCALE, 255},
        {"index8.png", 1, 8, SPNG_COLOR_TYPE_GRAYSCALE, 1}, /* VisA's masks hold the defect's number */
        {"grey16.png", 1, 16, SPNG_COLOR_TYPE_GRAYSCALE, 1}, {"palette1.png", 1, 1, SPNG_COLOR_TYPE_INDEXED, 1},
        {"palette8.png", 1, 8, SPNG_COLOR_TYPE_INDEXED, 7},  {"rgb.png", 3, 8, SPNG_COLOR_TYPE_TRUECOLOR, 128}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char path[PATH_SIZE];
        Picture p = picture_new(FIXTURE_WIDTH, FIXTURE_HEIGHT, kinds[k].channels, kinds[k].bits, k);
        memset(p.palette, 0, sizeof p.palette);
        p.palette[0][1] = 257;
        p.palette[2][7] = 65535;
        for (size_t y = 0; y < p.height; y++)
            for (size_t x = 0; x < p.width; x++)
                for (size_t c = 0; c < p.channels; c++) /* colour: only one component is set */
                    p.samples[(y * p.width + x) * p.channels + c] =
                        in_square(x, y) && c + 1 == p.channels ? kinds[k].value : 0;
        png_write(path_in(path, root, kinds[k].name), &p, kinds[k].colour_type, false, 0);
        picture_free(&p);
        expect_square(kinds[k].name);
    }
    put_mask(root, "black.png", false);
    expect_empty("black.png");
    put_text(root, "broken.png", "no picture");
    refuse("broken.png", "content: found none of the known signatures");
}

static void folders_are_united(void **state) {
    (void)state;
    Error e = {0};
    char path[PATH_SIZE];
    put_text(root, "several/notes.txt", "0 1 2 3\n");
    refuse("several", "found no image, expected the masks of one image");
    for (int half = 0; half < 3; half++) { /* left, right, nothing */
        BlemishImage mask;
        assert_ok(image_new(&mask, FIXTURE_WIDTH, FIXTURE_HEIGHT, 1, &e), e.text);
        for (size_t y = 0; y < mask.height; y++)
            for (size_t x = 0; x < mask.width; x++)
                image_pixels(&mask)[y * mask.stride + x] =
                    in_square(x, y) && half < 2 && (x < SQUARE_X + SQUARE / 2) == (half == 0) ? 200 : 0;
        char name[32];
        snprintf(name, sizeof name, "several/00%d.png", half);
        assert_ok(image_write_png(&mask, path_in(path, root, name), &e), e.text);
        image_free(&mask);
    }
    expect_square("several");
    BlemishImage small;
    assert_ok(image_new(&small, 3, 4, 1, &e), e.text);
    assert_ok(image_write_png(&small, path_in(path, root, "several/009.png"), &e), e.text);
    image_free(&small);
    refuse("several", "several/009.png: size: found 3 x 4, expected 40 x 36 as its neighbours");
}

/* ---- polygons -------------------------------------------------------------------------------------------- */

static void labelme_polygons(void **state) {
    (void)state;
    put_text(
        root, "two.json",
        "{\"shapes\": [{\"label\": \"a\", \"points\": [[12, 8], [17, 8], [17, 18], [12, 18]], \"shape_type\": "
        "\"polygon\"}, {\"label\": \"b\", \"points\": [[15, 8], [22, 8.0], [22, 18], [15, 18]]}], \"imageHeight\": "
        "36, \"imageWidth\": 40}");
    expect_square("two.json"); /* overlapping ones unite; no shape_type is an old file's polygon */
    put_text(root, "none.json", "{\"shapes\": [], \"imageHeight\": 36, \"imageWidth\": 40}");
    expect_empty("none.json");

    /* Drawn for half the size: scaled, and the reader says for what size. */
    put_text(
        root, "half.JSON",
        "{\"shapes\": [{\"points\": [[6, 4], [11, 4], [11, 9], [6, 9]]}], \"imageHeight\": 18, \"imageWidth\": 20}");
    Error e = {0};
    MaskReader reader = {0};
    BlemishImage mask;
    assert_ok(read(&reader, "half.JSON", &mask, &e), e.text);
    assert_int_equal(reader.width, 20);
    assert_int_equal(reader.height, 18);
    assert_int_equal(mask.width, FIXTURE_WIDTH);
    for (size_t i = 0; i < FIXTURE_WIDTH * FIXTURE_HEIGHT; i++)
        assert_int_equal(mask.data[i], in_square(i % FIXTURE_WIDTH, i / FIXTURE_WIDTH));
    image_free(&mask);
    mask_reader_close(&reader);

    static const char *const bad[][2] = {
        {"", "JSON: line "},
        {"[1, 2", "JSON: line 1"},
        {"{}", "found neither \"shapes\" nor \"images\" and \"annotations\""},
        {"{\"shapes\": []}", "imageHeight, imageWidth: found no size"},
        {"{\"shapes\": [], \"imageHeight\": 0, \"imageWidth\": 40}", "imageHeight, imageWidth: found no size"},
        {"{\"shapes\": [], \"imageHeight\": 36, \"imageWidth\": 4000000000}", "imageHeight, imageWidth: found no size"},
        {"{\"shapes\": [{\"shape_type\": \"rectangle\", \"points\": [[1, 2], [3, 4]]}], \"imageHeight\": 36, "
         "\"imageWidth\": 40}",
         "shapes[0]: found a rectangle, expected a polygon around the defect"},
        {"{\"shapes\": [{\"points\": [[1, 2], [3, 4]]}], \"imageHeight\": 36, \"imageWidth\": 40}",
         "shapes[0]: found 2 points, expected a polygon of 3 to 100000"},
        {"{\"shapes\": [{\"points\": [[1, 2], [3, 4], [5]]}], \"imageHeight\": 36, \"imageWidth\": 40}",
         "shapes[0]: found another point, expected numbers"},
        {"{\"shapes\": [{\"points\": [[1, 2], [3, 4], [\"5\", 6]]}], \"imageHeight\": 36, \"imageWidth\": 40}",
         "shapes[0]: found another point, expected numbers"},
        {"{\"shapes\": [{\"points\": [[1, 2], [3, 4], [5, 1e300]]}], \"imageHeight\": 36, \"imageWidth\": 40}",
         "shapes[0]: found a point far outside"},
        {"{\"shapes\": [{\"label\": \"x\"}], \"imageHeight\": 36, \"imageWidth\": 40}", "shapes[0]: found no points"},
        {"{\"shapes\": [7], \"imageHeight\": 36, \"imageWidth\": 40}", "shapes[0]: found no points"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text(root, "bad.json", "%s", bad[i][0]);
        refuse("bad.json", bad[i][1]);
    }
}

#define COCO_IMAGE "\"images\": [{\"id\": 7, \"file_name\": \"a.png\", \"height\": 36, \"width\": 40}]"
#define COCO(annotations) "{" COCO_IMAGE ", \"annotations\": [" annotations "]}"

static void coco_polygons(void **state) {
    (void)state;
    put_text(
        root, "c.json", "%s",
        COCO("{\"image_id\": 7, \"segmentation\": [[12, 8, 17, 8, 17, 18, 12, 18], [17, 8, 22, 8, 22, 18, 17, 18]]},"
             "{\"image_id\": 8, \"segmentation\": [[0, 0, 40, 0, 40, 36, 0, 36]]}"));
    expect_square("c.json");
    put_text(root, "c.json", "%s", COCO("{\"image_id\": 8, \"segmentation\": [[0, 0, 40, 0, 40, 36]]}"));
    expect_empty("c.json");
    /* The entry whose name ends the path at a folder, and of those the longest. */
    const char *slash = strrchr(root, '/') + 1;
    put_text(
        root, "c.json",
        "{\"images\": [{\"id\": \"x\", \"file_name\": \".png\", \"height\": 36, \"width\": 40}, {\"id\": \"y\", "
        "\"file_name\": \"%s/a.png\", \"height\": 36, \"width\": 40}, {\"id\": \"z\", \"file_name\": \"a.png\", "
        "\"height\": 36, \"width\": 40}], \"annotations\": [{\"image_id\": \"y\", \"segmentation\": [[12, 8, 22, 8, "
        "22, 18, 12, 18]]}, {\"image_id\": \"x\", \"segmentation\": [[0, 0, 9, 0, 9, 9]]}, {\"image_id\": \"z\", "
        "\"segmentation\": [[0, 0, 9, 0, 9, 9]]}]}",
        slash);
    expect_square("c.json");

    static const char *const bad[][2] = {
        {"{\"images\": [], \"annotations\": []}", "images: found no entry with an id, expected "},
        {"{\"images\": [{\"file_name\": \"a.png\"}], \"annotations\": []}", "images: found no entry with an id"},
        {"{\"images\": [{\"id\": 1, \"file_name\": \"a.png\"}], \"annotations\": []}",
         "images: height, width: found no"},
        {COCO("{\"image_id\": 7, \"bbox\": [12, 8, 10, 10]}"),
         "annotations[0].segmentation: found only a box, expected polygons or run lengths"},
        {COCO("{\"image_id\": 7, \"bbox\": [12, 8, 10, 10], \"segmentation\": []}"), "found only a box"},
        {COCO("{\"image_id\": 7}"), "annotations[0].segmentation: found nothing"},
        {COCO("{\"image_id\": 7, \"segmentation\": [[1, 2, 3, 4, 5]]}"), "segmentation: found no points"},
        {COCO("{\"image_id\": 7, \"segmentation\": [1, 2, 3, 4, 5, 6]}"), "segmentation: found no points"},
        {COCO("{\"image_id\": 7, \"segmentation\": [[1, 2, 3, 4, 5, null]]}"), "found another point"},
        {COCO("{\"image_id\": 7, \"segmentation\": [[]]}"), "found 0 points"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [40, 36], \"counts\": [1440]}}"),
         "size: found another one, expected [36, 40] as the image"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40]}}"), "counts: found none"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40], \"counts\": [1439]}}"),
         "counts: found 1439 pixels, expected 1440"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40], \"counts\": [1000, 441]}}"),
         "counts: found one that is no length or too long"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40], \"counts\": [-5, 1445]}}"),
         "counts: found one"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40], \"counts\": \"oooooooooooooo\"}}"),
         "counts: found one"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40], \"counts\": \"\\u0001\"}}"),
         "counts: found one"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40], \"counts\": \"P\"}}"), "counts: found one"},
        {COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40], \"counts\": \"\"}}"), "counts: found 0 pixels"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text(root, "bad.json", "%s", bad[i][0]);
        refuse("bad.json", bad[i][1]);
    }
}

/* One file for many images is parsed once; the other kind after it is not mixed up with it. */
static void json_is_kept_between_images(void **state) {
    (void)state;
    put_text(root, "c.json", "%s", COCO("{\"image_id\": 7, \"segmentation\": [[12, 8, 22, 8, 22, 18, 12, 18]]}"));
    put_text(root, "d.json", "{\"shapes\": [], \"imageHeight\": 36, \"imageWidth\": 40}");
    Error e = {0};
    MaskReader reader = {0};
    BlemishImage mask;
    assert_ok(read(&reader, "c.json", &mask, &e), e.text);
    image_free(&mask);
    put_text(root, "c.json", "gone");
    assert_ok(read(&reader, "c.json", &mask, &e), e.text);
    assert_non_null(mask.data);
    image_free(&mask);
    assert_ok(read(&reader, "d.json", &mask, &e), e.text);
    assert_null(mask.data);
    assert_int_equal(read(&reader, "c.json", &mask, &e), BLEMISH_ERROR_FORMAT);
    assert_int_equal(read(&reader, "c.json", &mask, &e), BLEMISH_ERROR_FORMAT);
    mask_reader_close(&reader);
}

/* The counts of a mask, read down the columns, as COCO writes them in text. */
static void compress(const size_t *counts, size_t n, char *text) {
    for (size_t i = 0; i < n; i++) {
        long x = (long)counts[i] - (i > 2 ? (long)counts[i - 2] : 0);
        for (bool more = true; more;) {
            int part = (int)(x & 0x1f);
            x >>= 5;
            more = part & 0x10 ? x != -1 : x != 0;
            *text++ = (char)((more ? part | 0x20 : part) + 48);
        }
    }
    *text = 0;
}

static void coco_run_lengths(void **state) {
    (void)state;
    enum { W = FIXTURE_WIDTH, H = FIXTURE_HEIGHT };
    Random r = random_new(5, 0);
    for (int round = 0; round < 60; round++) {
        uint8_t expected[H * W] = {0};
        size_t counts[H * W + 1], n = 0, at = 0;
        while (at < H * W) { /* runs of every length, of 0 at the start too */
            size_t run = random_below(&r, round % 3 ? 5 : 400) + (n > 0);
            if (run > H * W - at) run = H * W - at;
            for (size_t i = 0; i < run; i++, at++) expected[at % H * W + at / H] = n % 2;
            counts[n++] = run;
        }
        char text[4 * H * W], numbers[8 * H * W] = "", path[PATH_SIZE];
        compress(counts, n, text);
        for (size_t i = 0, used = 0; i < n; i++)
            used += (size_t)snprintf(numbers + used, sizeof numbers - used, "%s%zu", i ? "," : "", counts[i]);
        for (int form = 0; form < 2; form++) {
            Error e = {0};
            MaskReader reader = {0};
            BlemishImage mask;
            Text json = {0};
            text_format(&json, "{" COCO_IMAGE ", \"annotations\": [{\"image_id\": 7, \"iscrowd\": 1, \"segmentation\": "
                               "{\"size\": [36, 40], \"counts\": ");
            if (form)
                text_json_string(&json, text);
            else
                text_format(&json, "[%s]", numbers);
            text_format(&json, "}}]}");
            file_write(path_in(path, root, "r.json"), json.data, json.length);
            text_free(&json);
            assert_ok(read(&reader, "r.json", &mask, &e), e.text);
            if (mask.data)
                assert_memory_equal(mask.data, expected, sizeof expected);
            else
                assert_null(memchr(expected, 1, sizeof expected));
            image_free(&mask);
            mask_reader_close(&reader);
        }
    }
}

/* Texts that pycocotools' encode wrote: of the fixtures' square, and of a mask with specks, whose rows' bits are given.
 */
static void coco_text_as_published(void **state) {
    (void)state;
    static const char format[] = COCO("{\"image_id\": 7, \"segmentation\": {\"size\": [36, 40], \"counts\": \"%s\"}}");
    put_text(root, "r.json", format, "h=:j000000000000000000Pd0");
    expect_square("r.json");
    static const char bits[] =
        "800000000000000400000004000000000000000000008080001f800000001f808000001f800000001f800000001f80000000"
        "1f800000001f802000001f800000001f800000001f800000001f800200001f800000001f800000001f800000001f82000000"
        "9f840008001f804000001f800800001f800000001f800000041f800200001f800000001f800000001f800000001f80000000"
        "000020000000000004001000000000004040001000010000000000000000";
    put_text(root, "r.json", format,
             "01c00Y2h0VMXO6h030000000l0XOY20QM0a00`00cN0L0a10iN02050]10_N0S10hN0Y10]30_L0[50UK0e0");
    Error e = {0};
    MaskReader reader = {0};
    BlemishImage mask;
    assert_ok(read(&reader, "r.json", &mask, &e), e.text);
    assert_int_equal(strlen(bits), FIXTURE_WIDTH * FIXTURE_HEIGHT / 4);
    for (size_t i = 0; i < FIXTURE_WIDTH * FIXTURE_HEIGHT; i++) {
        const char digit[] = {bits[i / 4], 0};
        assert_int_equal(mask.data[i], strtoul(digit, NULL, 16) >> (3 - i % 4) & 1);
    }
    image_free(&mask);
    mask_reader_close(&reader);
}

static void yolo_polygons(void **state) {
    (void)state;
    put_text(root, "a.txt",
             "0 0.3 0.22222222 0.43 0.22222222 0.43 0.5 0.3 0.5\r\n\n"
             "3 0.4 0.22222222 0.55 0.22222222 0.55 0.5 0.4 0.5");
    expect_square("a.txt");
    put_text(root, "empty.txt", "%s", "");
    expect_empty("empty.txt");
    static const char *const bad[][2] = {
        {"0 0.5 0.5 0.2 0.2\n", "line 1: found a box, expected a polygon around the defect"},
        {"\n0 0.1 0.1 0.2 0.2 0.3\n", "line 2: found half a point"},
        {"0\n", "line 1: found 0 points"},
        {"0 0.1 0.1\n", "line 1: found 1 points"},
        {"crack 0.1 0.1 0.2 0.2 0.3 0.3\n", "line 1: found another word, expected numbers"},
        {"0 0.1 0.1 0.2 nan 0.3 0.3\n", "line 1: found another word"},
        {"0 0.1 0.1 0.2 0.2 1e30 0.3\n", "line 1: found a point far outside"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text(root, "bad.txt", "%s", bad[i][0]);
        refuse("bad.txt", bad[i][1]);
    }
    Text long_line = {0};
    for (int i = 0; i < 200010; i++) text_append(&long_line, "0 ", 2);
    put_bytes(root, "bad.txt", long_line.data, long_line.length);
    text_free(&long_line);
    refuse("bad.txt", "line 1: found more points");
}

/* Every truncation and thousands of bit flips: a mask or one line, and nothing for the sanitizers. */
static void drawn_masks_survive_damage(void **state) {
    (void)state;
    static const char labelme[] = "{\"shapes\":[{\"points\":[[12,8],[22,8],[22.5,18]],\"shape_type\":\"polygon\"}],"
                                  "\"imageHeight\":36,\"imageWidth\":40}";
    static const char coco[] = COCO("{\"image_id\":7,\"segmentation\":[[1,2,30,4,5,30]]},{\"image_id\":7,"
                                    "\"segmentation\":{\"size\":[36,40],\"counts\":\"h=:j000000000000000000Pd0\"}}");
    static const char yolo[] = "0 0.1 0.1 0.9 0.2 0.3 0.8\n1 .5 .5 .6 .5 .6 .7 .5 .7\n";
    const struct { const char *name, *text; } files[] = {{"l.json", labelme}, {"c.json", coco}, {"y.txt", yolo}};
    Random r = random_new(9, 0);
    size_t opened = 0, refused = 0;
    for (size_t f = 0; f < 3; f++) {
        const size_t n = strlen(files[f].text);
        for (size_t i = 0; i < n + 2000; i++) {
            char damaged[1024];
            memcpy(damaged, files[f].text, n);
            for (int flips = i < n ? 0 : 1 + (int)(i % 3); flips > 0; flips--)
                damaged[random_below(&r, (uint32_t)n)] ^= (char)(1 << random_below(&r, 8));
            put_bytes(root, files[f].name, damaged, i < n ? i : n);
            Error e = {0};
            MaskReader reader = {0};
            BlemishImage mask;
            if (read(&reader, files[f].name, &mask, &e) == BLEMISH_OK) {
                opened++;
            } else {
                assert_true(e.text[0] && !strchr(e.text, '\n'));
                assert_null(mask.data);
                refused++;
            }
            image_free(&mask);
            mask_reader_close(&reader);
        }
    }
    assert_true(opened > 100 && refused > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(images_of_every_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folders_are_united, set_up, tear_down),
        cmocka_unit_test_setup_teardown(labelme_polygons, set_up, tear_down),
        cmocka_unit_test_setup_teardown(coco_polygons, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_is_kept_between_images, set_up, tear_down),
        cmocka_unit_test_setup_teardown(coco_run_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(coco_text_as_published, set_up, tear_down),
        cmocka_unit_test_setup_teardown(yolo_polygons, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drawn_masks_survive_damage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
