#include "image/decode.h"

#include <string.h>

#define FILE_MAX ((size_t)1 << 30)

BlemishStatus image_new_unset(BlemishImage *out, size_t width, size_t height, int channels, Error *e) {
    *out = (BlemishImage){0};
    size_t stride, count;
    if (width == 0 || height == 0 || (channels != 1 && channels != 3))
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "image: found %zu x %zu x %d, expected 1 or more pixels of 1 or 3 channels", width, height,
                         channels);
    if (!size_mul(width, (size_t)channels, &stride) || !size_mul(stride, height, &count))
        return error_set(e, BLEMISH_ERROR_MEMORY, "image: %zu x %zu pixels are more than memory", width, height);
    uint8_t *pixels = array_new_unset(count, 1, e);
    if (pixels == NULL) return e->status;
    *out = (BlemishImage){.data = pixels, .width = width, .height = height, .stride = stride, .channels = channels};
    return BLEMISH_OK;
}

BlemishStatus image_new(BlemishImage *out, size_t width, size_t height, int channels, Error *e) {
    if (image_new_unset(out, width, height, channels, e)) return e->status;
    memset(image_pixels(out), 0, out->stride * height);
    return BLEMISH_OK;
}

uint8_t *image_pixels(BlemishImage *image) {
    return (uint8_t *)image->data;
}

void image_free(BlemishImage *image) {
    array_free(image_pixels(image));
    *image = (BlemishImage){0};
}

BlemishStatus decode_check_size(const char *path, size_t width, size_t height, size_t most, Error *e) {
    if (width == 0 || height == 0 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        width * height > IMAGE_PIXELS_MAX)
        return error_set(e, BLEMISH_ERROR_FORMAT,
                         "%s: size: found %zu x %zu pixels, expected sides of 1 to %d and at most %zu pixels", path,
                         width, height, IMAGE_SIDE_MAX, IMAGE_PIXELS_MAX);
    if (width * height > most)
        return error_set(e, BLEMISH_ERROR_FORMAT,
                         "%s: size: found %zu x %zu pixels, more than a file of its length can hold", path, width,
                         height);
    return BLEMISH_OK;
}

uint8_t decode_sample16(unsigned v, Wanted wanted) {
    if (wanted == WANT_MASK) return v != 0;
    return (uint8_t)((v + 128) / 257);
}

uint8_t decode_lossy_mask(uint8_t v) {
    return v < IMAGE_MASK_LOSSY ? 0 : 255;
}

static unsigned exif_number(const uint8_t *p, int bytes, bool big) {
    unsigned v = 0;
    for (int i = 0; i < bytes; i++) v = v << 8 | p[big ? i : bytes - 1 - i];
    return v;
}

int exif_orientation(const uint8_t *exif, size_t size) {
    if (size < 8) return 1;
    bool big = memcmp(exif, "MM\0*", 4) == 0;
    if (!big && memcmp(exif, "II*\0", 4) != 0) return 1;
    size_t directory = exif_number(exif + 4, 4, big);
    if (directory > size - 2) return 1;
    size_t entries = exif_number(exif + directory, 2, big), first = directory + 2;
    for (size_t i = 0; i < entries && 12 * (i + 1) <= size - first; i++) {
        const uint8_t *entry = exif + first + 12 * i;
        if (exif_number(entry, 2, big) != 0x0112) continue;
        unsigned v = exif_number(entry + 8, 2, big);
        bool one_short = exif_number(entry + 2, 2, big) == 3 && exif_number(entry + 4, 4, big) == 1;
        return one_short && v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}

static bool starts_with(const Encoded *file, const char *magic, size_t length) {
    return file->size >= length && memcmp(file->bytes, magic, length) == 0;
}

static BlemishStatus decode_stored(const char *path, Wanted wanted, Decoded *out, Error *e) {
    *out = (Decoded){.orientation = 1};
    uint8_t *bytes;
    Encoded file = {.path = path};
    if (file_load(path, "an image file", FILE_MAX, &bytes, &file.size, e) != BLEMISH_OK) return e->status;
    file.bytes = bytes;
    BlemishStatus status;
    if (file.size == 0)
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: found an empty file, expected a JPEG, PNG, TIFF or BMP image",
                           path);
    else if (starts_with(&file, "\xff\xd8\xff", 3))
        status = jpeg_decode(&file, wanted, out, e);
    else if (starts_with(&file, "\x89PNG\r\n\x1a\n", 8))
        status = png_decode(&file, wanted, out, e);
    else if (starts_with(&file, "II*\0", 4) || starts_with(&file, "MM\0*", 4) || starts_with(&file, "II+\0", 4) ||
             starts_with(&file, "MM\0+", 4))
        status = tiff_decode(&file, wanted, out, e);
    else if (starts_with(&file, "BM", 2))
        status = bmp_decode(&file, wanted, out, e);
    else
        status = error_set(e, BLEMISH_ERROR_FORMAT,
                           "%s: content: found none of the known signatures, expected a "
                           "JPEG, PNG, TIFF or BMP image",
                           path);
    array_free(bytes);
    if (status != BLEMISH_OK) image_free(&out->image);
    return status;
}

/* Where the walk over the upright picture's rows starts in the stored one, and what a step right and a step down are
 * there, is all that tells the eight orientations apart. */
BlemishStatus image_orient(const BlemishImage *in, int orientation, BlemishImage *out, Error *e) {
    const int o = orientation;
    const bool swapped = o >= 5, from_right = o == 2 || o == 3 || o == 7 || o == 8,
               from_bottom = o == 3 || o == 4 || o == 6 || o == 7;
    const size_t pixel = (size_t)in->channels;
    if (image_new(out, swapped ? in->height : in->width, swapped ? in->width : in->height, in->channels, e))
        return e->status;
    const ptrdiff_t column = from_right ? -(ptrdiff_t)pixel : (ptrdiff_t)pixel;
    const ptrdiff_t row = from_bottom ? -(ptrdiff_t)in->stride : (ptrdiff_t)in->stride;
    const uint8_t *start =
        in->data + (from_right ? pixel * (in->width - 1) : 0) + (from_bottom ? in->stride * (in->height - 1) : 0);
    const ptrdiff_t right = swapped ? row : column, down = swapped ? column : row;
    uint8_t *to = image_pixels(out);
    for (size_t y = 0; y < out->height; y++) {
        const uint8_t *from = start + (ptrdiff_t)y * down;
        for (size_t x = 0; x < out->width; x++, from += right)
            for (size_t c = 0; c < pixel; c++) *to++ = from[c];
    }
    return BLEMISH_OK;
}

static BlemishStatus decode_upright(BlemishImage *out, const char *path, Wanted wanted, Error *e) {
    *out = (BlemishImage){0};
    Decoded stored;
    BlemishStatus status = decode_stored(path, wanted, &stored, e);
    if (status != BLEMISH_OK || stored.orientation == 1) {
        *out = stored.image; /* none after a failure */
        return status;
    }
    status = image_orient(&stored.image, stored.orientation, out, e);
    image_free(&stored.image);
    return status;
}

BlemishStatus image_decode(BlemishImage *out, const char *path, Error *e) {
    return decode_upright(out, path, WANT_COLOUR, e);
}

BlemishStatus image_decode_mask(BlemishImage *out, const char *path, Error *e) {
    *out = (BlemishImage){0};
    BlemishImage rgb;
    if (decode_upright(&rgb, path, WANT_MASK, e) != BLEMISH_OK) return e->status;
    if (image_new(out, rgb.width, rgb.height, 1, e) == BLEMISH_OK) {
        uint8_t *mask = image_pixels(out);
        for (size_t i = 0; i < rgb.width * rgb.height; i++)
            mask[i] = (rgb.data[3 * i] | rgb.data[3 * i + 1] | rgb.data[3 * i + 2]) != 0;
    }
    image_free(&rgb);
    return out->data == NULL ? e->status : BLEMISH_OK;
}

BlemishStatus image_probe(const char *path, size_t *width, size_t *height, Error *e) {
    *width = *height = 0;
    Decoded stored;
    if (decode_stored(path, WANT_SIZE, &stored, e) != BLEMISH_OK) return e->status;
    *width = stored.orientation >= 5 ? stored.height : stored.width;
    *height = stored.orientation >= 5 ? stored.width : stored.height;
    return BLEMISH_OK;
}
