#include "helper_layouts.h"
#include "helper_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* root/name with its folders made. */
static char *place(char path[PATH_SIZE], const char *root, const char *name) {
    path_in(path, root, name);
    for (char *c = path + strlen(root) + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(path, 0777);
            *c = '/';
        }
    return path;
}

void put_bytes(const char *root, const char *name, const void *bytes, size_t length) {
    char path[PATH_SIZE];
    file_write(place(path, root, name), bytes, length);
}

void put_text(const char *root, const char *name, const char *format, ...) {
    char text[4096];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_in_range(length, 0, sizeof text - 1);
    put_bytes(root, name, text, (size_t)length);
}

static void square(BlemishImage *image, uint8_t value) {
    for (size_t y = SQUARE_Y; y < SQUARE_Y + SQUARE; y++)
        memset(image_pixels(image) + y * image->stride + SQUARE_X * (size_t)image->channels, value,
               SQUARE * (size_t)image->channels);
}

static void write_jpeg(const BlemishImage *image, const char *path) {
    Picture p = picture_new(image->width, image->height, 3, 8, 0);
    for (size_t i = 0; i < 3 * p.width * p.height; i++) p.samples[i] = image->data[i];
    jpeg_write(path, &p, false, 0, 0, false, NULL);
    picture_free(&p);
}

/* 24 bits, the lowest row first; the width's 120 bytes need no padding. */
static void write_bmp(const BlemishImage *image, const char *path) {
    uint8_t bytes[54 + 3 * FIXTURE_WIDTH * FIXTURE_HEIGHT] = "BM";
    bytes[10] = 54, bytes[14] = 40, bytes[18] = FIXTURE_WIDTH, bytes[22] = FIXTURE_HEIGHT, bytes[26] = 1,
    bytes[28] = 24;
    for (size_t i = 0; i < 3 * image->width * image->height; i++) {
        const size_t y = i / image->stride, x = i % image->stride;
        bytes[54 + (image->height - 1 - y) * image->stride + x / 3 * 3 + 2 - x % 3] = image->data[i];
    }
    file_write(path, bytes, sizeof bytes);
}

void put_picture(const char *root, const char *name, bool defect) {
    char path[PATH_SIZE];
    Error e = {0};
    BlemishImage image;
    const char *dot = strrchr(name, '.');
    picture_make(&image, FIXTURE_WIDTH, FIXTURE_HEIGHT, 3, fnv1a64(name, strlen(name), FNV1A64_BASIS));
    if (defect) square(&image, 0);
    if (strcasecmp(dot, ".jpg") == 0)
        write_jpeg(&image, place(path, root, name));
    else if (strcasecmp(dot, ".bmp") == 0)
        write_bmp(&image, place(path, root, name));
    else
        assert_ok(image_write_png(&image, place(path, root, name), &e), e.text);
    image_free(&image);
}

void put_mask(const char *root, const char *name, bool defect) {
    char path[PATH_SIZE];
    Error e = {0};
    BlemishImage mask;
    assert_ok(image_new(&mask, FIXTURE_WIDTH, FIXTURE_HEIGHT, 1, &e), e.text);
    if (defect) square(&mask, 255);
    assert_ok(image_write_png(&mask, place(path, root, name), &e), e.text);
    image_free(&mask);
}

/* ---- pickles --------------------------------------------------------------------------------------------- */

static void pickle_list(Text *t, const Pair *pairs, size_t count) {
    text_append(t, "]\x94", 2);
    if (count != 1) text_append(t, "(", count > 0);
    for (size_t i = 0; i < count; i++) {
        const int id = pairs[i].id;
        const char bytes[] = {(char)id, (char)(id >> 8), (char)(id >> 16), (char)(id >> 24)};
        text_append(t, id < 256 ? "K" : id < 65536 ? "M" : "J", 1);
        text_append(t, bytes, id < 256 ? 1 : id < 65536 ? 2 : 4);
        text_append(t, pairs[i].segmented ? "\x88\x86\x94" : "\x89\x86\x94", 3);
    }
    if (count) text_append(t, count == 1 ? "a" : "e", 1);
}

void put_split(const char *root, const char *name, const Pair *first, size_t first_count, const Pair *second,
               size_t second_count) {
    Text body = {0}, file = {0};
    pickle_list(&body, first, first_count);
    if (second) {
        pickle_list(&body, second, second_count);
        text_append(&body, "\x86\x94", 2);
    }
    text_append(&body, ".", 1);
    const uint64_t length = body.length;
    text_append(&file, "\x80\x04\x95", 3);
    text_append(&file, (const char *)&length, 8); /* tests run on little-endian machines */
    text_append(&file, body.data, body.length);
    put_bytes(root, name, file.data, file.length);
    text_free(&body);
    text_free(&file);
}

/* ---- the published layouts ------------------------------------------------------------------------------- */

static void write_mvtec(const char *root) {
    put_picture(root, "bottle/train/good/000.png", false);
    put_picture(root, "bottle/train/good/001.png", false);
    put_picture(root, "bottle/test/good/000.png", false);
    put_picture(root, "bottle/test/broken_large/000.png", true);
    put_mask(root, "bottle/ground_truth/broken_large/000_mask.png", true);
}

static void write_loco(const char *root) {
    put_picture(root, "train/good/000.png", false);
    put_picture(root, "train/good/001.png", false);
    put_picture(root, "validation/good/000.png", false);
    put_picture(root, "test/good/000.png", false);
    put_picture(root, "test/logical_anomalies/000.png", true);
    put_mask(root, "ground_truth/logical_anomalies/000/000.png", true);
    put_mask(root, "ground_truth/logical_anomalies/000/001.png", false);
}

static void write_btad(const char *root) {
    put_picture(root, "train/ok/0000.bmp", false);
    put_picture(root, "train/ok/0001.bmp", false);
    put_picture(root, "test/ok/0000.bmp", false);
    put_picture(root, "test/ko/0000.bmp", true);
    put_mask(root, "ground_truth/ko/0000.png", true);
}

static void write_visa(const char *root) {
    put_picture(root, "candle/Data/Images/Normal/0000.JPG", false);
    put_picture(root, "candle/Data/Images/Normal/0001.JPG", false);
    put_picture(root, "candle/Data/Images/Normal/0002.JPG", false);
    put_picture(root, "candle/Data/Images/Anomaly/000.JPG", true);
    put_mask(root, "candle/Data/Masks/Anomaly/000.png", true);
    put_picture(root, "pcb1/Data/Images/Normal/0000.JPG", false);
    put_text(root, "candle/image_anno.csv", "image,label,mask\n");
    put_text(root, "split_csv/1cls.csv",
             "object,split,label,image,mask\n"
             "candle,train,normal,candle/Data/Images/Normal/0002.JPG,\n"
             "candle,train,normal,candle/Data/Images/Normal/0000.JPG,\n"
             "candle,test,normal,candle/Data/Images/Normal/0001.JPG,\n"
             "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png\n"
             "pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,\n");
}

static void write_ksdd2(const char *root) {
    static const Pair train[3][4] = {{{10000, true}, {10001, true}, {10301, false}, {10302, false}},
                                     {{10000, true}, {10001, true}, {10301, false}, {10302, true}},
                                     {{10000, true}, {10001, true}, {10301, true}, {10302, true}}};
    static const Pair test[2] = {{20000, true}, {20001, true}};
    char name[64];
    for (size_t i = 0; i < 6; i++) {
        const int id = i < 4 ? train[0][i].id : test[i - 4].id;
        const bool defect = id > 10300 && id != 20000;
        snprintf(name, sizeof name, "%s/%d.png", i < 4 ? "train" : "test", id);
        put_picture(root, name, defect);
        snprintf(name, sizeof name, "%s/%d_GT.png", i < 4 ? "train" : "test", id);
        put_mask(root, name, defect);
    }
    put_mask(root, "train/10301_GT (copy).png", true);
    for (size_t masks = 0; masks < 3; masks++) {
        snprintf(name, sizeof name, "split_weakly_%zu.pyb", masks);
        put_split(root, name, train[masks], 4, test, 2);
    }
}

/* Six good and six defective capsules; fold k tests those whose number leaves k when divided by 3. */
static void write_sensum(const char *root) {
    char name[96];
    for (int i = 1; i <= 6; i++) {
        snprintf(name, sizeof name, "capsule/negative/data/%03d.png", i);
        put_picture(root, name, false);
        snprintf(name, sizeof name, "capsule/positive/data/%03d.png", i);
        put_picture(root, name, true);
        snprintf(name, sizeof name, "capsule/positive/annotation/%03d.png", i);
        put_mask(root, name, true);
    }
    for (int fold = 0; fold < 3; fold++) {
        Pair train[4], test[2];
        size_t trains = 0, tests = 0;
        for (int i = 1; i <= 6; i++) {
            if (i % 3 == fold)
                test[tests++] = (Pair){i, true};
            else
                train[trains++] = (Pair){i, true};
        }
        snprintf(name, sizeof name, "sensum_splits/capsule/%d/train/neg.pckl", fold);
        put_split(root, name, train, 4, NULL, 0);
        snprintf(name, sizeof name, "sensum_splits/capsule/%d/test/neg.pckl", fold);
        put_split(root, name, test, 2, NULL, 0);
        snprintf(name, sizeof name, "sensum_splits/capsule/%d/test/pos.pckl", fold);
        put_split(root, name, test, 2, NULL, 0);
        for (size_t masks = 0; masks <= 4; masks += 2) {
            for (size_t i = 0; i < 4; i++) train[i].segmented = i < masks;
            snprintf(name, sizeof name, "sensum_splits/capsule/%d/train/pos_%zu.pckl", fold, 25 * masks);
            put_split(root, name, train, 4, NULL, 0);
        }
    }
}

static void write_magnetic_tile(const char *root) {
    for (int i = 0; i < 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "MT_Free/Imgs/exp1_num_%d.jpg", i);
        put_picture(root, name, false);
        snprintf(name, sizeof name, "MT_Free/Imgs/exp1_num_%d.png", i);
        put_mask(root, name, false);
    }
    put_picture(root, "MT_Blowhole/Imgs/exp1_num_10.jpg", true);
    put_mask(root, "MT_Blowhole/Imgs/exp1_num_10.png", true);
    put_picture(root, "MT_Blowhole/Imgs/exp1_num_11.jpg", true);
    put_mask(root, "MT_Blowhole/Imgs/exp1_num_11.png", true);
}

static const char labelme[] =
    "{\"version\": \"5.4.1\", \"flags\": {}, \"shapes\": [{\"label\": \"scratch\", \"points\": "
    "[[12.0, 8.0], [22.0, 8.0], [22.0, 18.0], [12.0, 18.0]], \"group_id\": null, "
    "\"shape_type\": \"polygon\", \"flags\": {}}], \"imagePath\": \"%s\", \"imageData\": null, "
    "\"imageHeight\": 36, \"imageWidth\": 40}";
static const char yolo[] = "0 0.3 0.2222222222 0.55 0.2222222222 0.55 0.5 0.3 0.5\n";

/* A plain folder with a mask of each kind that it takes. */
static void write_folder(const char *root) {
    put_picture(root, "good/a.png", false);
    put_picture(root, "good/b.png", false);
    put_picture(root, "defect/1.png", true);
    put_mask(root, "masks/1.png", true);
    put_picture(root, "defect/2.png", true);
    put_text(root, "masks/2.json", labelme, "../defect/2.png");
    put_picture(root, "defect/3.png", true);
    put_text(root, "masks/3.txt", yolo);
    put_picture(root, "defect/4.png", true);
}

static void write_csv(const char *root) {
    for (char name[] = "a.png"; *name <= 'd'; ++*name) put_picture(root, name, false);
    put_picture(root, "x.png", true);
    put_text(root, "x.json", labelme, "x.png");
    put_picture(root, "sub/y.png", true);
    put_picture(root, "z.png", true);
    put_text(root, "coco.json",
             "{\"images\": [{\"id\": 1, \"file_name\": \"y.png\", \"height\": 36, \"width\": 40}], \"categories\": "
             "[{\"id\": 1, \"name\": \"dent\"}], \"annotations\": [{\"id\": 1, \"image_id\": 1, \"category_id\": 1, "
             "\"segmentation\": [[12, 8, 22, 8, 22, 18, 12, 18]], \"area\": 100, \"bbox\": [12, 8, 10, 10], "
             "\"iscrowd\": 0}]}");
    put_text(root, "parts.csv",
             "path,label,mask,split\n"
             "a.png,good,,train\nb.png,0,,train\nc.png,,,train\nd.png,good,,test\n"
             "x.png,,x.json,train\nsub/y.png,defect,coco.json,test\nz.png,1,,train\n");
}

static const Fixture fixtures[] = {
    {"mvtec", "mvtec", write_mvtec, "",
     "bottle/test/broken_large/000.png 1 1 broken_large bottle/ground_truth/broken_large/000_mask.png\n"
     "bottle/test/good/000.png 0 1 good -\n"
     "bottle/train/good/000.png 0 0 good -\nbottle/train/good/001.png 0 0 good -\n"},
    {"loco", "mvtec", write_loco, "",
     "test/good/000.png 0 1 good -\n"
     "test/logical_anomalies/000.png 1 1 logical_anomalies ground_truth/logical_anomalies/000\n"
     "train/good/000.png 0 0 good -\ntrain/good/001.png 0 0 good -\n"},
    {"btad", "mvtec", write_btad, "",
     "test/ko/0000.bmp 1 1 ko ground_truth/ko/0000.png\ntest/ok/0000.bmp 0 1 good -\n"
     "train/ok/0000.bmp 0 0 good -\ntrain/ok/0001.bmp 0 0 good -\n"},
    {"visa", "visa", write_visa, "candle",
     "candle/Data/Images/Anomaly/000.JPG 1 1 anomaly candle/Data/Masks/Anomaly/000.png\n"
     "candle/Data/Images/Normal/0000.JPG 0 0 good -\ncandle/Data/Images/Normal/0001.JPG 0 1 good -\n"
     "candle/Data/Images/Normal/0002.JPG 0 0 good -\n"},
    {"ksdd2", "ksdd2", write_ksdd2, "",
     "test/20000.png 0 1 good -\ntest/20001.png 1 1 defect test/20001_GT.png\n"
     "train/10000.png 0 0 good -\ntrain/10001.png 0 0 good -\n"
     "train/10301.png 1 0 defect train/10301_GT.png\ntrain/10302.png 1 0 defect train/10302_GT.png\n"},
    {"sensum", "sensum", write_sensum, "",
     "capsule/negative/data/001.png 0 0 good -\ncapsule/negative/data/002.png 0 0 good -\n"
     "capsule/negative/data/003.png 0 1 good -\ncapsule/negative/data/004.png 0 0 good -\n"
     "capsule/negative/data/005.png 0 0 good -\ncapsule/negative/data/006.png 0 1 good -\n"
     "capsule/positive/data/001.png 1 0 defect capsule/positive/annotation/001.png\n"
     "capsule/positive/data/002.png 1 0 defect capsule/positive/annotation/002.png\n"
     "capsule/positive/data/003.png 1 1 defect capsule/positive/annotation/003.png\n"
     "capsule/positive/data/004.png 1 0 defect capsule/positive/annotation/004.png\n"
     "capsule/positive/data/005.png 1 0 defect capsule/positive/annotation/005.png\n"
     "capsule/positive/data/006.png 1 1 defect capsule/positive/annotation/006.png\n"},
    {"magnetic-tile", "magnetic-tile", write_magnetic_tile, "", NULL},
    {"folder", "folder", write_folder, "", NULL},
    {"csv", "csv", write_csv, "parts.csv",
     "a.png 0 0 good -\nb.png 0 0 good -\nc.png -1 0 unknown -\nd.png 0 1 good -\n"
     "sub/y.png 1 1 defect coco.json\nx.png 1 0 defect x.json\nz.png 1 0 defect -\n"},
};

const Fixture *fixture_at(size_t index) {
    return index < sizeof fixtures / sizeof *fixtures ? &fixtures[index] : NULL;
}

const Fixture *fixture_named(const char *name) {
    for (size_t i = 0; fixture_at(i); i++)
        if (strcmp(fixture_at(i)->name, name) == 0) return fixture_at(i);
    fail_msg("no fixture %s", name);
    return NULL;
}

char *manifest_text(const Manifest *m, const char *root) {
    Text t = {0};
    const size_t skip = strlen(root) + 1;
    text_append(&t, "", 0);
    for (size_t i = 0; i < m->count; i++) {
        const Sample *s = &m->samples[i];
        text_format(&t, "%s %d %d %s %s\n", s->path + skip, s->label, s->split, s->type,
                    s->mask_path ? s->mask_path + skip : "-");
    }
    assert_non_null(t.data);
    return t.data;
}
