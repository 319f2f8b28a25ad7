#include "helper_image.h"

#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <spng.h>
#include <tiffio.h>
#include <turbojpeg.h>

void file_write(const char *path, const void *bytes, size_t size) {
    unlink(path); /* a new file: file systems flush one that is cut and written again, which takes most of a test */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

uint8_t *file_read(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

Picture picture_new(size_t width, size_t height, size_t channels, int bits, uint64_t seed) {
    Picture p = {.width = width, .height = height, .channels = channels, .bits = bits};
    Random r = random_new(seed, 99);
    p.samples = malloc(width * height * channels * sizeof *p.samples);
    assert_non_null(p.samples);
    for (size_t i = 0; i < width * height * channels; i++) p.samples[i] = (uint16_t)random_below(&r, 1u << bits);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++) p.palette[c][i] = (uint16_t)(257 * random_below(&r, 256));
    return p;
}

void picture_free(Picture *p) {
    free(p->samples);
}

void picture_rgb(const Picture *p, size_t x, size_t y, uint8_t rgb[3]) {
    const uint16_t *s = p->samples + (y * p->width + x) * p->channels;
    double most = (1 << p->bits) - 1;
    for (size_t c = 0; c < 3; c++) {
        double v = s[p->channels >= 3 ? c : 0] * 255.0 / most;
        if (p->palette_used) v = p->palette[c][s[0]] / 257.0;
        rgb[c] = (uint8_t)lround(p->white_is_zero ? 255 - v : v);
    }
}

/* Packs channels first..first+count-1 of a row's pixels from x0, `width` of them, as bits; past the picture's edge 0.
 */
static void pack_row(const Picture *p, size_t y, size_t x0, size_t width, size_t first, size_t count, bool big,
                     uint8_t *row) {
    memset(row, 0, (width * count * (size_t)p->bits + 7) / 8);
    for (size_t i = 0; i < width * count; i++) {
        size_t x = x0 + i / count, bit = i * (size_t)p->bits;
        unsigned v =
            x < p->width && y < p->height ? p->samples[(y * p->width + x) * p->channels + first + i % count] : 0;
        if (p->bits == 16) {
            uint16_t wide = (uint16_t)(big ? v >> 8 | v << 8 : v); /* tests run on little-endian machines */
            memcpy(row + 2 * i, &wide, 2);
        } else {
            row[bit / 8] |= (uint8_t)(v << (8 - (size_t)p->bits - bit % 8));
        }
    }
}

/* A TIFF header and a directory of a foreign tag and the orientation. */
static size_t make_exif(uint8_t exif[64], int orientation, bool big) {
    const uint8_t little_form[] = {'I',
                                   'I',
                                   '*',
                                   0,
                                   8,
                                   0,
                                   0,
                                   0,
                                   2,
                                   0,
                                   0x0f,
                                   1,
                                   2,
                                   0,
                                   1,
                                   0,
                                   0,
                                   0,
                                   'x',
                                   0,
                                   0,
                                   0,
                                   0x12,
                                   1,
                                   3,
                                   0,
                                   1,
                                   0,
                                   0,
                                   0,
                                   (uint8_t)orientation,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0};
    const uint8_t big_form[] = {'M', 'M', 0,   '*', 0, 0, 0, 8,    0, 2, 1, 0x0f, 0, 2, 0, 0,
                                0,   1,   'x', 0,   0, 0, 1, 0x12, 0, 3, 0, 0,    0, 1, 0, (uint8_t)orientation,
                                0,   0,   0,   0,   0, 0};
    memcpy(exif, big ? big_form : little_form, sizeof big_form);
    return sizeof big_form;
}

void png_write(const char *path, const Picture *p, int colour_type, bool interlaced, int orientation) {
    size_t row = (p->width * p->channels * (size_t)p->bits + 7) / 8, size;
    uint8_t *raw = malloc(row * p->height), exif_bytes[64];
    assert_non_null(raw);
    for (size_t y = 0; y < p->height; y++) pack_row(p, y, 0, p->width, 0, p->channels, true, raw + y * row);
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr header = {.width = (uint32_t)p->width,
                               .height = (uint32_t)p->height,
                               .bit_depth = (uint8_t)p->bits,
                               .color_type = (uint8_t)colour_type,
                               .interlace_method = interlaced};
    spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    assert_int_equal(spng_set_ihdr(png, &header), 0);
    if (colour_type == SPNG_COLOR_TYPE_INDEXED) {
        struct spng_plte plte = {.n_entries = 1u << p->bits};
        struct spng_trns trns = {.n_type3_entries = 2, .type3_alpha = {0, 100}};
        for (size_t i = 0; i < plte.n_entries; i++) {
            plte.entries[i].red = (uint8_t)(p->palette[0][i] / 257);
            plte.entries[i].green = (uint8_t)(p->palette[1][i] / 257);
            plte.entries[i].blue = (uint8_t)(p->palette[2][i] / 257);
        }
        assert_int_equal(spng_set_plte(png, &plte), 0);
        assert_int_equal(spng_set_trns(png, &trns), 0);
    }
    if (orientation) {
        struct spng_exif exif = {.length = make_exif(exif_bytes, orientation, true), .data = (char *)exif_bytes};
        assert_int_equal(spng_set_exif(png, &exif), 0);
    }
    int code = spng_encode_image(png, raw, row * p->height, SPNG_FMT_RAW, SPNG_ENCODE_FINALIZE);
    if (code) fail_msg("spng: %s", spng_strerror(code));
    void *bytes = spng_get_png_buffer(png, &size, &code);
    assert_non_null(bytes);
    file_write(path, bytes, size);
    free(bytes);
    spng_ctx_free(png);
    free(raw);
}

void tiff_write(const char *path, const Picture *p, TiffKind kind) {
    enum { TILE = 16 };
    TIFF *tif = TIFFOpen(path, kind.mode);
    assert_non_null(tif);
    uint32_t rows = 5; /* the last strip is a short one */
    TIFFSetField(tif, TIFFTAG_IMAGEWIDTH, (uint32_t)p->width);
    TIFFSetField(tif, TIFFTAG_IMAGELENGTH, (uint32_t)p->height);
    TIFFSetField(tif, TIFFTAG_BITSPERSAMPLE, p->bits);
    TIFFSetField(tif, TIFFTAG_SAMPLESPERPIXEL, (int)p->channels);
    TIFFSetField(tif, TIFFTAG_COMPRESSION, kind.compression);
    TIFFSetField(tif, TIFFTAG_PHOTOMETRIC, kind.photometric);
    TIFFSetField(tif, TIFFTAG_PLANARCONFIG, kind.separate ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
    if (kind.orientation) TIFFSetField(tif, TIFFTAG_ORIENTATION, kind.orientation);
    if (kind.photometric == PHOTOMETRIC_PALETTE)
        TIFFSetField(tif, TIFFTAG_COLORMAP, p->palette[0], p->palette[1], p->palette[2]);
    size_t colours = kind.photometric == PHOTOMETRIC_RGB || kind.photometric == PHOTOMETRIC_YCBCR ? 3 : 1;
    if (p->channels > colours) {
        uint16_t extra[4] = {EXTRASAMPLE_UNASSALPHA};
        TIFFSetField(tif, TIFFTAG_EXTRASAMPLES, (int)(p->channels - colours), extra);
    }
    if (kind.compression == COMPRESSION_JPEG) {
        TIFFSetField(tif, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        TIFFSetField(tif, TIFFTAG_JPEGQUALITY, 100);
        TIFFSetField(tif, TIFFTAG_YCBCRSUBSAMPLING, 1, 1);
        rows = 8;
    }
    if (kind.tiled) {
        TIFFSetField(tif, TIFFTAG_TILEWIDTH, TILE);
        TIFFSetField(tif, TIFFTAG_TILELENGTH, TILE);
    } else {
        TIFFSetField(tif, TIFFTAG_ROWSPERSTRIP, rows);
    }
    size_t width = kind.tiled ? TILE : p->width, height = kind.tiled ? TILE : rows;
    size_t planes = kind.separate ? p->channels : 1, count = kind.separate ? 1 : p->channels, index = 0;
    size_t row = (width * count * (size_t)p->bits + 7) / 8;
    uint8_t *block = malloc(row * height);
    assert_non_null(block);
    for (size_t plane = 0; plane < planes; plane++)
        for (size_t y0 = 0; y0 < p->height; y0 += height)
            for (size_t x0 = 0; x0 < p->width; x0 += width, index++) {
                size_t n = kind.tiled || p->height - y0 > height ? height : p->height - y0;
                for (size_t y = 0; y < n; y++) pack_row(p, y0 + y, x0, width, plane, count, false, block + y * row);
                tmsize_t size = (tmsize_t)(n * row);
                tmsize_t done = kind.tiled ? TIFFWriteEncodedTile(tif, (uint32_t)index, block, size)
                                           : TIFFWriteEncodedStrip(tif, (uint32_t)index, block, size);
                assert_int_equal(done, size);
            }
    free(block);
    TIFFClose(tif);
}

void jpeg_write(const char *path, const Picture *p, bool progressive, int subsampling, int orientation, bool big,
                uint8_t *decoded) {
    uint8_t *pixels = malloc(p->width * p->height * p->channels), *jpeg = NULL;
    assert_non_null(pixels);
    for (size_t i = 0; i < p->width * p->height * p->channels; i++) pixels[i] = (uint8_t)p->samples[i];
    unsigned long size = 0;
    int width = (int)p->width, height = (int)p->height;
    int format = p->channels == 1 ? TJPF_GRAY : p->channels == 3 ? TJPF_RGB : TJPF_CMYK;
    tjhandle tj = tjInitCompress();
    assert_int_equal(tjCompress2(tj, pixels, width, 0, height, format, &jpeg, &size, subsampling, 90,
                                 progressive ? TJFLAG_PROGRESSIVE : 0),
                     0);
    tjDestroy(tj);
    if (decoded != NULL) {
        tj = tjInitDecompress();
        assert_int_equal(tjDecompress2(tj, jpeg, size, decoded, width, 0, height, TJPF_RGB, TJFLAG_STOPONWARNING), 0);
        tjDestroy(tj);
    }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(jpeg, 1, 2, f);
    if (orientation) {
        uint8_t exif[64];
        size_t n = make_exif(exif, orientation, big);
        const uint8_t other[] = {0xff, 0xe1, 0, 8, 'h', 't', 't', 'p', ':', '/'}; /* XMP, which is APP1 too */
        const uint8_t start[] = {0xff, 0xe1, 0, (uint8_t)(n + 8), 'E', 'x', 'i', 'f', 0, 0};
        fwrite(other, 1, sizeof other, f);
        fwrite(start, 1, sizeof start, f);
        fwrite(exif, 1, n, f);
    }
    fwrite(jpeg + 2, 1, size - 2, f);
    assert_int_equal(fclose(f), 0);
    tjFree(jpeg);
    free(pixels);
}
