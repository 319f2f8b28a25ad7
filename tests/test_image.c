/* Decoding: every kind of file, and files that are broken or hostile. */
#include "helper_image.h"
#include "image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <spng.h>
#include <tiffio.h>
#include <turbojpeg.h>

static char folder[64], path[96];
static int process_wide_messages; /* what reaches libtiff's global handlers */

static void count_message(const char *module, const char *format, va_list args) {
    (void)module, (void)format, (void)args;
    process_wide_messages++;
}

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/blemish-test-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/image", folder);
    TIFFSetErrorHandler(count_message);
    TIFFSetWarningHandler(count_message);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Index in the stored picture of pixel (x, y) of the upright one. EXIF 2.3, tag 0x0112, says for each value which side
 * of the upright picture the 0th stored row and the 0th stored column are. */
static size_t stored_index(int orientation, size_t width, size_t height, size_t x, size_t y) {
    static const char *const sides[9] = {"", "tl", "tr", "br", "bl", "lt", "rt", "rb", "lb"}; /* row, column */
    const char *side = sides[orientation];
    size_t place[2], length[2] = {height, width}; /* stored row and column; their extents */
    for (int i = 0; i < 2; i++) {
        size_t along = side[i] == 't' || side[i] == 'b' ? y : x;
        place[i] = side[i] == 't' || side[i] == 'l' ? along : length[i] - 1 - along;
    }
    return place[0] * width + place[1];
}

/* Decodes `path` and compares with the picture, within `tolerance`, and its probe and mask with the same; a component
 * marks a defect from `marks` up. */
static void assert_decodes_marked(const Picture *p, int orientation, int tolerance, int marks) {
    Error e = {0};
    BlemishImage image, mask;
    size_t width, height, expected_width = orientation >= 5 ? p->height : p->width;
    if (image_decode(&image, path, &e) != BLEMISH_OK) fail_msg("%s", e.text);
    if (image_decode_mask(&mask, path, &e) != BLEMISH_OK) fail_msg("%s", e.text);
    assert_int_equal(image_probe(path, &width, &height, &e), BLEMISH_OK);
    assert_int_equal(image.channels, 3);
    assert_int_equal(image.stride, 3 * image.width);
    assert_int_equal(image.width, expected_width);
    assert_int_equal(image.width * image.height, p->width * p->height);
    assert_int_equal(mask.channels, 1);
    assert_true(mask.width == image.width && mask.height == image.height);
    assert_true(width == image.width && height == image.height);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            uint8_t rgb[3];
            size_t from = stored_index(orientation, p->width, p->height, x, y);
            picture_rgb(p, from % p->width, from / p->width, rgb);
            const uint8_t *found = image.data + y * image.stride + 3 * x;
            for (int c = 0; c < 3; c++) assert_in_range(found[c] + tolerance, rgb[c], rgb[c] + 2 * tolerance);
            if (p->bits <= 8 && tolerance == 0)
                assert_int_equal(mask.data[y * width + x], rgb[0] >= marks || rgb[1] >= marks || rgb[2] >= marks);
        }
    image_free(&image);
    image_free(&mask);
    assert_null(image.data);
}

static void assert_decodes(const Picture *p, int orientation, int tolerance) {
    assert_decodes_marked(p, orientation, tolerance, 1);
}

static void assert_refused(BlemishStatus expected) {
    Error e = {0};
    BlemishImage image;
    size_t width, height;
    assert_int_equal(image_decode(&image, path, &e), expected);
    assert_null(image.data);
    assert_ptr_equal(strstr(e.text, path), e.text);
    assert_null(strchr(e.text, '\n'));
    assert_true(strlen(e.text) > strlen(path) + 2);
    assert_int_equal(image_decode_mask(&image, path, &e), expected);
    assert_null(image.data);
    (void)image_probe(path, &width, &height, &e); /* may succeed: it reads no pixels */
}

static void png_of_every_kind(void **state) {
    (void)state;
    const struct {
        int type;
        size_t channels;
        int bits[6];
    } kinds[] = {{SPNG_COLOR_TYPE_GRAYSCALE, 1, {1, 2, 4, 8, 16}},
                 {SPNG_COLOR_TYPE_TRUECOLOR, 3, {8, 16}},
                 {SPNG_COLOR_TYPE_INDEXED, 1, {1, 2, 4, 8}},
                 {SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, 2, {8, 16}},
                 {SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 4, {8, 16}}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int i = 0; kinds[k].bits[i]; i++)
            for (int interlaced = 0; interlaced < 2; interlaced++) {
                Picture p = picture_new(37, 29, kinds[k].channels, kinds[k].bits[i], 1);
                p.palette_used = kinds[k].type == SPNG_COLOR_TYPE_INDEXED;
                png_write(path, &p, kinds[k].type, interlaced, 0);
                assert_decodes(&p, 1, 0);
                picture_free(&p);
            }
    for (int orientation = 1; orientation <= 8; orientation++) {
        Picture p = picture_new(5, 9, 3, 8, 2);
        png_write(path, &p, SPNG_COLOR_TYPE_TRUECOLOR, false, orientation);
        assert_decodes(&p, orientation, 0);
        picture_free(&p);
    }
}

static void tiff_of_every_kind(void **state) {
    (void)state;
    const int compressions[] = {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS};
    const char *const modes[] = {"w", "wb", "w8"};
    const int bits[] = {1, 2, 4, 8, 16};
    int made = 0;
    for (size_t channels = 1; channels <= 4; channels++)
        for (int b = 0; b < 5; b++)
            for (int layout = 0; layout < 4; layout++, made++) {
                Picture p = picture_new(37, 29, channels, bits[b], 3);
                p.white_is_zero = channels < 3 && made % 3 == 0;
                int photometric = channels >= 3     ? PHOTOMETRIC_RGB
                                  : p.white_is_zero ? PHOTOMETRIC_MINISWHITE
                                                    : PHOTOMETRIC_MINISBLACK;
                tiff_write(path, &p,
                           (TiffKind){.mode = modes[made % 3],
                                      .compression = compressions[made % 4],
                                      .photometric = photometric,
                                      .tiled = layout & 1,
                                      .separate = layout & 2});
                assert_decodes(&p, 1, 0);
                picture_free(&p);
            }
    for (int b = 0; b < 4; b++) {
        Picture p = picture_new(37, 29, 1, bits[b], 4);
        p.palette_used = true;
        tiff_write(path, &p, (TiffKind){"w", COMPRESSION_LZW, PHOTOMETRIC_PALETTE, 0, b & 1, false});
        assert_decodes(&p, 1, 0);
        picture_free(&p);
    }
    for (int orientation = 1; orientation <= 8; orientation++) {
        Picture p = picture_new(5, 9, 3, 8, 5);
        tiff_write(path, &p, (TiffKind){"w", COMPRESSION_NONE, PHOTOMETRIC_RGB, orientation, false, false});
        assert_decodes(&p, orientation, 0);
        picture_free(&p);
    }
    Picture fax = picture_new(37, 29, 1, 1, 6);
    fax.white_is_zero = true;
    tiff_write(path, &fax, (TiffKind){"w", COMPRESSION_CCITTFAX4, PHOTOMETRIC_MINISWHITE, 0, false, false});
    assert_decodes(&fax, 1, 0);
    picture_free(&fax);
    /* A smooth picture, which JPEG at quality 100 keeps within a few steps. */
    Picture smooth = picture_new(37, 29, 3, 8, 7);
    for (size_t i = 0; i < 37 * 29 * 3; i++) smooth.samples[i] = (uint16_t)(i / 3 % 37 * 3 + i / 111 * 2 + i % 3 * 20);
    for (int tiled = 0; tiled < 2; tiled++) {
        tiff_write(path, &smooth, (TiffKind){"w", COMPRESSION_JPEG, PHOTOMETRIC_YCBCR, 0, tiled, false});
        assert_decodes(&smooth, 1, 3);
    }
    picture_free(&smooth);
    assert_int_equal(process_wide_messages, 0);
}

static void jpeg_of_every_kind(void **state) {
    (void)state;
    const int subsamplings[] = {TJSAMP_444, TJSAMP_420, TJSAMP_422, TJSAMP_411, TJSAMP_440};
    for (size_t channels = 1; channels <= 3; channels += 2)
        for (int i = 0; i < 10; i++) {
            Picture p = picture_new(37, 29, channels, 8, 8), expected = picture_new(37, 29, 3, 8, 8);
            uint8_t decoded[37 * 29 * 3];
            int orientation = i < 9 ? i : 5;
            jpeg_write(path, &p, i % 2, channels == 1 ? TJSAMP_GRAY : subsamplings[i % 5], orientation, i % 3 == 0,
                       decoded);
            for (size_t k = 0; k < sizeof decoded; k++) expected.samples[k] = decoded[k];
            assert_decodes_marked(&expected, orientation ? orientation : 1, 0, 128);
            picture_free(&p);
            picture_free(&expected);
        }
    Picture cmyk = picture_new(16, 16, 4, 8, 9);
    jpeg_write(path, &cmyk, false, TJSAMP_444, 0, false, NULL);
    assert_refused(BLEMISH_ERROR_UNSUPPORTED);
    picture_free(&cmyk);
}

/* An invalid orientation or a broken EXIF block means upright, never a failure. */
static void broken_exif_is_upright(void **state) {
    (void)state;
    Picture p = picture_new(12, 7, 1, 8, 10), expected = picture_new(12, 7, 3, 8, 10);
    uint8_t decoded[12 * 7 * 3];
    jpeg_write(path, &p, false, TJSAMP_GRAY, 9, false, decoded);
    for (size_t k = 0; k < sizeof decoded; k++) expected.samples[k] = decoded[k];
    assert_decodes_marked(&expected, 1, 0, 128);
    jpeg_write(path, &p, false, TJSAMP_GRAY, 6, true, NULL);
    size_t size;
    uint8_t *bytes = file_read(path, &size);
    size_t exif = 2 + 10 + 10; /* start marker, XMP, EXIF marker */
    Random r = random_new(31, 0);
    for (int i = 0; i < 500; i++) {
        uint8_t kept[38];
        memcpy(kept, bytes + exif, sizeof kept);
        for (int k = 0; k < 3; k++) bytes[exif + random_below(&r, sizeof kept)] = (uint8_t)random_u32(&r);
        file_write(path, bytes, size);
        Error e = {0};
        BlemishImage image;
        assert_int_equal(image_decode(&image, path, &e), BLEMISH_OK);
        assert_int_equal(image.width * image.height, 12 * 7);
        image_free(&image);
        memcpy(bytes + exif, kept, sizeof kept);
    }
    free(bytes);
    picture_free(&p);
    picture_free(&expected);
}

static void masks_keep_faint_16_bit_values(void **state) {
    (void)state;
    Error e = {0};
    for (int kind = 0; kind < 3; kind++) {
        Picture p = picture_new(3, 1, 1, 16, 1);
        p.samples[0] = 0, p.samples[1] = 1, p.samples[2] = 65535;
        if (kind == 0) png_write(path, &p, SPNG_COLOR_TYPE_GRAYSCALE, false, 0);
        if (kind == 1) tiff_write(path, &p, (TiffKind){"w", COMPRESSION_NONE, PHOTOMETRIC_MINISBLACK, 0, false, false});
        if (kind == 2) { /* the same in a palette */
            p.bits = 8;
            memset(p.palette, 0, sizeof p.palette);
            for (uint16_t i = 0; i < 3; i++) p.samples[i] = i;
            p.palette[2][1] = 1, p.palette[0][2] = 65535;
            tiff_write(path, &p, (TiffKind){"w", COMPRESSION_NONE, PHOTOMETRIC_PALETTE, 0, false, false});
        }
        BlemishImage mask;
        assert_int_equal(image_decode_mask(&mask, path, &e), BLEMISH_OK);
        assert_memory_equal(mask.data, "\0\1\1", 3);
        image_free(&mask);
        picture_free(&p);
    }
}

/* A white disc on black: JPEG leaves values of 1 to 30 around it, which are no defect. */
static void masks_survive_jpeg(void **state) {
    (void)state;
    Error e = {0};
    for (int kind = 0; kind < 3; kind++) {
        Picture p = picture_new(61, 53, 3, 8, 1);
        for (size_t i = 0; i < 61 * 53 * 3; i++) {
            const int x = (int)(i / 3 % 61) - 30, y = (int)(i / 183) - 26;
            p.samples[i] = x * x + y * y < 200 ? 255 : 0;
        }
        if (kind < 2) jpeg_write(path, &p, kind, TJSAMP_420, 0, false, NULL);
        if (kind == 2) tiff_write(path, &p, (TiffKind){"w", COMPRESSION_JPEG, PHOTOMETRIC_YCBCR, 0, false, false});
        BlemishImage mask, image;
        assert_int_equal(image_decode_mask(&mask, path, &e), BLEMISH_OK);
        assert_int_equal(image_decode(&image, path, &e), BLEMISH_OK);
        size_t faint = 0;
        for (size_t i = 0; i < 61 * 53; i++) {
            assert_int_equal(mask.data[i], p.samples[3 * i] != 0);
            faint += mask.data[i] == 0 && image.data[3 * i] != 0;
        }
        assert_true(faint > 0 || kind == 2); /* at quality 100 there may be none */
        image_free(&mask);
        image_free(&image);
        picture_free(&p);
    }
}

/* One file of each format, small enough to try every cut. */
static uint8_t *sample_file(int format, size_t *size) {
    Picture p = picture_new(13, 11, 3, 8, 40);
    if (format == 0) png_write(path, &p, SPNG_COLOR_TYPE_TRUECOLOR, false, 6);
    if (format == 1) jpeg_write(path, &p, false, TJSAMP_420, 6, true, NULL);
    if (format == 2) jpeg_write(path, &p, true, TJSAMP_444, 0, true, NULL);
    if (format == 3) tiff_write(path, &p, (TiffKind){"w", COMPRESSION_NONE, PHOTOMETRIC_RGB, 0, false, false});
    if (format == 4) tiff_write(path, &p, (TiffKind){"w", COMPRESSION_LZW, PHOTOMETRIC_RGB, 0, true, true});
    if (format == 5) tiff_write(path, &p, (TiffKind){"w", COMPRESSION_JPEG, PHOTOMETRIC_YCBCR, 0, false, false});
    picture_free(&p);
    return file_read(path, size);
}

static void truncated_files_are_refused(void **state) {
    (void)state;
    for (int format = 0; format < 6; format++) {
        size_t size;
        uint8_t *bytes = sample_file(format, &size);
        for (size_t cut = 0; cut < size; cut++) {
            file_write(path, bytes, cut);
            /* The last 4 bytes may be missing where they carry nothing: the checksum of PNG's empty end chunk, TIFF's
             * place for a next directory. */
            if ((format == 0 || format >= 3) && cut + 4 >= size) continue;
            assert_refused(BLEMISH_ERROR_FORMAT);
        }
        free(bytes);
    }
    assert_int_equal(process_wide_messages, 0);
}

/* Every chunk of a PNG carries a checksum, so no flipped bit may pass. */
static void flipped_bits_of_a_png_are_refused(void **state) {
    (void)state;
    size_t size;
    uint8_t *bytes = sample_file(0, &size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        file_write(path, bytes, size);
        assert_refused(BLEMISH_ERROR_FORMAT);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(bytes);
}

/* The other formats carry none: whatever comes back is a whole image or one line. Sanitizers watch the rest. */
static void flipped_bits_do_no_harm(void **state) {
    (void)state;
    Random r = random_new(41, 0);
    for (int format = 1; format < 6; format++) {
        size_t size, refused = 0;
        uint8_t *bytes = sample_file(format, &size);
        for (int i = 0; i < 1500; i++) {
            size_t bits[3];
            for (int k = 0; k < 3; k++) {
                bits[k] = random_below(&r, (uint32_t)(8 * size));
                if (i % 2) bits[k] = bits[0]; /* single flips, too */
                bytes[bits[k] / 8] ^= (uint8_t)(1 << bits[k] % 8);
            }
            file_write(path, bytes, size);
            Error e = {0};
            BlemishImage image;
            if (image_decode(&image, path, &e) == BLEMISH_OK) {
                assert_true(image.data[image.stride * image.height - 1] <= 255 && image.channels == 3);
                image_free(&image);
            } else {
                refused++;
                assert_ptr_equal(strstr(e.text, path), e.text);
                assert_null(strchr(e.text, '\n'));
                assert_null(image.data);
            }
            for (int k = 0; k < 3; k++) bytes[bits[k] / 8] ^= (uint8_t)(1 << bits[k] % 8);
        }
        assert_true(refused > 10);
        free(bytes);
    }
    assert_int_equal(process_wide_messages, 0);
}

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void assert_size_refused(void) {
    Error e = {0};
    size_t width, height;
    assert_refused(BLEMISH_ERROR_FORMAT);
    assert_int_equal(image_probe(path, &width, &height, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "size: found"));
}

static void hostile_sizes_are_refused(void **state) {
    (void)state;
    const uint32_t sizes[][2] = {{0, 5}, {65501, 1}, {65000, 65000}, {0x7fffffff, 0x7fffffff}, {16384, 16384}};
    size_t size;
    uint8_t *bytes = sample_file(0, &size);
    for (int i = 0; i < 4; i++) {
        put32(bytes + 16, sizes[i][0]);
        put32(bytes + 20, sizes[i][1]);
        put32(bytes + 29, crc32_of(bytes + 12, 17));
        file_write(path, bytes, size);
        assert_refused(BLEMISH_ERROR_FORMAT);
    }
    put32(bytes + 16, 16384); /* within the limits, but not in a file this short */
    put32(bytes + 20, 16384);
    put32(bytes + 29, crc32_of(bytes + 12, 17));
    file_write(path, bytes, size);
    assert_size_refused();
    free(bytes);
    /* 33 KB hold 273 million pixels of 1 bit, and 4 million of 64: colour type and depth count. */
    Picture deep = picture_new(3, 3, 4, 16, 1);
    png_write(path, &deep, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, false, 0);
    bytes = realloc(file_read(path, &size), 33 << 10);
    assert_non_null(bytes);
    memset(bytes + size, 0, (33 << 10) - size);
    put32(bytes + 16, 2100);
    put32(bytes + 20, 2100);
    put32(bytes + 29, crc32_of(bytes + 12, 17));
    file_write(path, bytes, 33 << 10);
    assert_size_refused();
    free(bytes);
    picture_free(&deep);
    for (int format = 1; format < 3; format++) {
        bytes = sample_file(format, &size);
        size_t frame = 0; /* SOF0 or SOF2 */
        while (!(bytes[frame] == 0xff && (bytes[frame + 1] == 0xc0 || bytes[frame + 1] == 0xc2))) frame++;
        bytes[frame + 5] = bytes[frame + 7] = 0x40; /* 16384 + 11 by 16384 + 13 */
        file_write(path, bytes, size);
        assert_size_refused();
        bytes[frame + 5] = bytes[frame + 7] = 0x20; /* 8203 x 8205 */
        file_write(path, bytes, size);
        assert_size_refused();
        bytes[frame + 5] = bytes[frame + 7] = 4; /* 1035 x 1037: 3 KB of blocks at 4:2:0, a bit each */
        assert_true(size < 3000);
        file_write(path, bytes, size);
        assert_size_refused();
        if (format == 2) { /* 20235 x 10253 at 4:4:4, in a file that could hold them: 1.2 GB of coefficients */
            bytes[frame + 5] = 0x4f;
            bytes[frame + 7] = 0x28;
            bytes = realloc(bytes, 2 << 20);
            assert_non_null(bytes);
            memset(bytes + size, 0, (2 << 20) - size);
            file_write(path, bytes, 2 << 20);
            assert_refused(BLEMISH_ERROR_MEMORY);
        }
        free(bytes);
    }
    Picture p = picture_new(1, 1, 1, 8, 1);
    for (int i = 0; i < 5; i++) {
        tiff_write(path, &p, (TiffKind){"w", COMPRESSION_LZW, PHOTOMETRIC_MINISBLACK, 0, false, false});
        TIFF *tif = TIFFOpen(path, "r+");
        TIFFSetField(tif, TIFFTAG_IMAGEWIDTH, sizes[i][0]);
        TIFFSetField(tif, TIFFTAG_IMAGELENGTH, sizes[i][1]);
        TIFFSetField(tif, TIFFTAG_ROWSPERSTRIP, sizes[i][1]);
        TIFFRewriteDirectory(tif);
        TIFFClose(tif);
        process_wide_messages = 0; /* of this test's own writing */
        assert_refused(BLEMISH_ERROR_FORMAT);
        assert_int_equal(process_wide_messages, 0);
    }
    picture_free(&p);
}

static void unknown_tiffs_are_refused(void **state) {
    (void)state;
    Error e = {0};
    const float values[6] = {0, 1, 2, 3, 4, 5};
    assert_int_equal(image_write_tiff_f32(values, 3, 2, path, &e), BLEMISH_OK);
    assert_refused(BLEMISH_ERROR_UNSUPPORTED);
    Picture p = picture_new(5, 5, 4, 8, 1);
    tiff_write(path, &p, (TiffKind){"w", COMPRESSION_NONE, PHOTOMETRIC_SEPARATED, 0, false, false});
    assert_refused(BLEMISH_ERROR_UNSUPPORTED);
    picture_free(&p);
    p = picture_new(5, 5, 5, 8, 1);
    tiff_write(path, &p, (TiffKind){"w", COMPRESSION_NONE, PHOTOMETRIC_RGB, 0, false, false});
    assert_refused(BLEMISH_ERROR_UNSUPPORTED);
    picture_free(&p);
}

static void what_is_no_image_is_refused(void **state) {
    (void)state;
    assert_refused(BLEMISH_ERROR_IO); /* does not exist */
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(BLEMISH_ERROR_IO);
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(BLEMISH_ERROR_IO);
    unlink(path);
    file_write(path, "", 0);
    assert_refused(BLEMISH_ERROR_FORMAT);
    file_write(path, "GIF89a and so on", 16);
    assert_refused(BLEMISH_ERROR_FORMAT);
    for (int format = 0; format < 6; format++) { /* the signature alone, then the signature and noise */
        size_t size;
        uint8_t *bytes = sample_file(format, &size);
        Random r = random_new(42, (uint64_t)format);
        for (size_t i = 8; i < size; i++) bytes[i] = (uint8_t)random_u32(&r);
        file_write(path, bytes, 8);
        assert_refused(BLEMISH_ERROR_FORMAT);
        file_write(path, bytes, size);
        assert_refused(BLEMISH_ERROR_FORMAT);
        free(bytes);
    }
}

static void real_photographs_decode(void **state) {
    (void)state;
    DIR *d = opendir(SHARED_DIR "/data/magnetic-tile/MT_Fray/Imgs");
    if (d == NULL) {
        print_message("skipped: no ../shared/data/magnetic-tile\n");
        skip();
    }
    size_t images = 0, masks = 0;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        const char *end = strrchr(entry->d_name, '.');
        if (end == NULL || strcmp(end, ".jpg") != 0) continue;
        char photo[512], truth[512];
        snprintf(photo, sizeof photo, "%s/data/magnetic-tile/MT_Fray/Imgs/%s", SHARED_DIR, entry->d_name);
        snprintf(truth, sizeof truth, "%.*s.png", (int)(strlen(photo) - 4), photo);
        Error e = {0};
        BlemishImage image, mask;
        if (image_decode(&image, photo, &e) != BLEMISH_OK) fail_msg("%s", e.text);
        if (image_decode_mask(&mask, truth, &e) != BLEMISH_OK) fail_msg("%s", e.text);
        assert_true(image.width == mask.width && image.height == mask.height);
        masks += memchr(mask.data, 1, mask.width * mask.height) != NULL;
        images++;
        image_free(&image);
        image_free(&mask);
    }
    closedir(d);
    assert_true(images > 0);
    assert_int_equal(masks, images); /* a folder of defects: every mask marks one */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(png_of_every_kind),
        TEST(tiff_of_every_kind),
        TEST(jpeg_of_every_kind),
        TEST(broken_exif_is_upright),
        TEST(masks_keep_faint_16_bit_values),
        TEST(masks_survive_jpeg),
        TEST(truncated_files_are_refused),
        TEST(flipped_bits_of_a_png_are_refused),
        TEST(flipped_bits_do_no_harm),
        TEST(hostile_sizes_are_refused),
        TEST(unknown_tiffs_are_refused),
        TEST(what_is_no_image_is_refused),
        TEST(real_photographs_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
