#include "image/decode.h"
#include "image/tiff.h"

#include <stdlib.h>
#include <string.h>

/* ---- the file in memory, as libtiff wants to see it ------------------------------------------------------- */
typedef struct TiffSource {
    const Encoded *file;
    uint64_t position;
} TiffSource;

static tmsize_t source_read(thandle_t handle, void *to, tmsize_t count) {
    TiffSource *s = handle;
    /* Not -1: libtiff 4.5 adds what is returned to a buffer offset before it looks at it. */
    if (count < 0 || s->position > s->file->size) return 0;
    size_t n = s->file->size - s->position;
    if (n > (size_t)count) n = (size_t)count;
    memcpy(to, s->file->bytes + s->position, n);
    s->position += n;
    return (tmsize_t)n;
}

static tmsize_t source_write(thandle_t handle, void *from, tmsize_t count) {
    (void)handle, (void)from, (void)count;
    return -1;
}

static toff_t source_seek(thandle_t handle, toff_t offset, int whence) {
    TiffSource *s = handle;
    s->position = whence == SEEK_SET ? offset : whence == SEEK_CUR ? s->position + offset : s->file->size + offset;
    return s->position;
}

static int source_close(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t source_size(thandle_t handle) {
    return ((TiffSource *)handle)->file->size;
}

/* ---- pixels ----------------------------------------------------------------------------------------------- */
typedef struct TiffLayout {
    uint32_t block_width, block_height; /* of a tile; a strip is a tile as wide as the picture */
    bool tiled, separate, lossy;
    uint16_t bits, samples, photometric;
    int colours;           /* samples that carry colour: 1, or 3 for RGB */
    uint8_t table[3][256]; /* what a sample of up to 8 bits is in red, green and blue */
} TiffLayout;

static BlemishStatus unsupported(const char *path, const char *field, unsigned found, const char *expected, Error *e) {
    return error_set(e, BLEMISH_ERROR_UNSUPPORTED, "%s: TIFF %s: found %u, expected %s", path, field, found, expected);
}

/* Only codecs that pictures are kept in: the others are rarely used, and rarely tested against hostile files. */
static bool codec_known(uint16_t compression) {
    static const uint16_t known[] = {
        COMPRESSION_NONE, COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,     COMPRESSION_CCITTFAX4, COMPRESSION_LZW,
        COMPRESSION_JPEG, COMPRESSION_PACKBITS, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_DEFLATE,   COMPRESSION_ZSTD};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (compression == known[i]) return TIFFIsCODECConfigured(compression);
    return false;
}

static bool fill_table(TIFF *tif, TiffLayout *t, Wanted wanted) {
    unsigned last = (1u << t->bits) - 1;
    uint16_t *map[3] = {NULL, NULL, NULL};
    if (t->photometric == PHOTOMETRIC_PALETTE && !TIFFGetField(tif, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2]))
        return false;
    for (unsigned v = 0; v <= last; v++)
        for (int c = 0; c < 3; c++) {
            uint8_t *to = &t->table[c][v];
            *to = (uint8_t)(map[c] ? decode_sample16(map[c][v], wanted) : (v * 255 + last / 2) / last);
            if (t->lossy && wanted == WANT_MASK) *to = decode_lossy_mask(*to);
        }
    return true;
}

static BlemishStatus read_layout(TIFF *tif, const char *path, Wanted wanted, const Decoded *out, TiffLayout *t,
                                 Error *e) {
    uint16_t compression, format, planar;
    TIFFGetFieldDefaulted(tif, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(tif, TIFFTAG_BITSPERSAMPLE, &t->bits);
    TIFFGetFieldDefaulted(tif, TIFFTAG_SAMPLESPERPIXEL, &t->samples);
    TIFFGetFieldDefaulted(tif, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetFieldDefaulted(tif, TIFFTAG_PLANARCONFIG, &planar);
    if (!TIFFGetField(tif, TIFFTAG_PHOTOMETRIC, &t->photometric))
        t->photometric = t->samples < 3 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB;
    if (!codec_known(compression))
        return unsupported(path, "compression", compression, "none, LZW, Deflate, PackBits, JPEG, Zstandard or fax", e);
    if (t->photometric == PHOTOMETRIC_YCBCR && compression == COMPRESSION_JPEG) {
        TIFFSetField(tif, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB); /* its decoder converts */
        t->photometric = PHOTOMETRIC_RGB;
    }
    if (t->photometric != PHOTOMETRIC_MINISBLACK && t->photometric != PHOTOMETRIC_MINISWHITE &&
        t->photometric != PHOTOMETRIC_RGB && t->photometric != PHOTOMETRIC_PALETTE)
        return unsupported(path, "photometric interpretation", t->photometric, "grey, RGB or palette", e);
    t->lossy = compression == COMPRESSION_JPEG;
    t->colours = t->photometric == PHOTOMETRIC_RGB ? 3 : 1;
    if (t->samples < t->colours || t->samples > 4)
        return unsupported(path, "samples per pixel", t->samples, t->colours == 3 ? "3 or 4" : "1 to 4", e);
    if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID)
        return unsupported(path, "sample format", format, "1 (unsigned integers)", e);
    bool small = t->bits == 1 || t->bits == 2 || t->bits == 4 || t->bits == 8;
    if (!small && (t->bits != 16 || t->photometric == PHOTOMETRIC_PALETTE))
        return unsupported(path, "bits per sample", t->bits, "1, 2, 4, 8 or, without a palette, 16", e);
    if (small && !fill_table(tif, t, wanted))
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: TIFF colour map: found none, expected one", path);
    t->separate = planar == PLANARCONFIG_SEPARATE && t->samples > 1;
    t->tiled = TIFFIsTiled(tif) != 0;
    t->block_width = (uint32_t)out->width;
    if (t->tiled) {
        t->block_width = t->block_height = 0;
        TIFFGetField(tif, TIFFTAG_TILEWIDTH, &t->block_width);
        TIFFGetField(tif, TIFFTAG_TILELENGTH, &t->block_height);
        return decode_check_size(path, t->block_width, t->block_height, SIZE_MAX, e);
    }
    TIFFGetFieldDefaulted(tif, TIFFTAG_ROWSPERSTRIP, &t->block_height);
    if (t->block_height > out->height) t->block_height = (uint32_t)out->height;
    return t->block_height > 0 ? BLEMISH_OK
                               : error_set(e, BLEMISH_ERROR_FORMAT, "%s: TIFF rows per strip: found 0", path);
}

/* The index-th sample of a row, as colour component c (the table differs between components only for a palette). */
static uint8_t sample(const TiffLayout *t, const uint8_t *row, size_t index, size_t c, Wanted wanted) {
    if (t->bits == 16) {
        uint16_t wide;
        memcpy(&wide, row + 2 * index, sizeof wide);
        if (t->photometric == PHOTOMETRIC_MINISWHITE) wide = (uint16_t)~wide;
        return decode_sample16(wide, wanted);
    }
    unsigned per_byte = 8u / t->bits, shift = (unsigned)(per_byte - 1 - index % per_byte) * t->bits;
    unsigned packed = row[index / per_byte];
    uint8_t v = t->table[c][packed >> shift & ((1u << t->bits) - 1)];
    return t->photometric == PHOTOMETRIC_MINISWHITE ? (uint8_t)~v : v;
}

/* Copies one decoded block, of plane `plane` where planes are separate, to where it belongs. */
static void place(const TiffLayout *t, const uint8_t *block, size_t row_bytes, size_t x0, size_t y0, size_t plane,
                  Wanted wanted, BlemishImage *image) {
    size_t width = image->width - x0 < t->block_width ? image->width - x0 : t->block_width;
    size_t height = image->height - y0 < t->block_height ? image->height - y0 : t->block_height;
    size_t pitch = t->separate ? 1 : t->samples;
    for (size_t y = 0; y < height; y++) {
        const uint8_t *row = block + y * row_bytes;
        uint8_t *to = image_pixels(image) + (y0 + y) * image->stride + 3 * x0;
        for (size_t x = 0; x < width; x++, to += 3)
            for (size_t c = 0; c < 3; c++) {
                if (t->colours == 1)
                    to[c] = sample(t, row, x * pitch, c, wanted);
                else if (!t->separate)
                    to[c] = sample(t, row, x * pitch + c, c, wanted);
                else if (c == plane)
                    to[c] = sample(t, row, x, c, wanted);
            }
    }
}

/* `block` is calloc's: untouched until libtiff fills it, so a header that promises more than its file holds costs
 * address space only. For the same reason the picture is made after the first block has been read. */
static BlemishStatus read_blocks(TIFF *tif, const TiffLayout *t, const Encoded *file, Wanted wanted,
                                 TiffMessage *message, uint8_t *block, size_t block_bytes, Decoded *out, Error *e) {
    size_t row_bytes = (size_t)(t->tiled ? TIFFTileRowSize64(tif) : TIFFScanlineSize64(tif));
    size_t across = (out->width + t->block_width - 1) / t->block_width;
    size_t down = (out->height + t->block_height - 1) / t->block_height;
    size_t planes = t->separate ? (size_t)t->colours : 1;
    for (size_t i = 0; i < planes * across * down; i++) {
        tmsize_t n = t->tiled ? TIFFReadEncodedTile(tif, (uint32_t)i, block, (tmsize_t)block_bytes)
                              : TIFFReadEncodedStrip(tif, (uint32_t)i, block, (tmsize_t)block_bytes);
        if (n < 0 || message->text[0])
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: TIFF data: %s", file->path,
                             message->text[0] ? message->text : "a block cannot be decoded");
        if (out->image.data == NULL && image_new(&out->image, out->width, out->height, 3, e) != BLEMISH_OK)
            return e->status;
        size_t inside = i % (across * down);
        place(t, block, row_bytes, inside % across * t->block_width, inside / across * t->block_height,
              i / (across * down), wanted, &out->image);
    }
    return BLEMISH_OK;
}

static BlemishStatus read_tiff(TIFF *tif, const Encoded *file, Wanted wanted, TiffMessage *message, Decoded *out,
                               Error *e) {
    uint32_t width = 0, height = 0;
    uint16_t orientation = 1;
    TIFFGetField(tif, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tif, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetFieldDefaulted(tif, TIFFTAG_ORIENTATION, &orientation);
    out->width = width;
    out->height = height;
    out->orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
    if (decode_check_size(file->path, width, height, SIZE_MAX, e) != BLEMISH_OK) return e->status;
    TiffLayout layout = {0};
    if (read_layout(tif, file->path, wanted, out, &layout, e) != BLEMISH_OK) return e->status;
    if (wanted == WANT_SIZE) return BLEMISH_OK;
    uint64_t bytes = layout.tiled ? TIFFTileSize64(tif) : TIFFVStripSize64(tif, layout.block_height);
    uint8_t *block = bytes == 0 || bytes > PTRDIFF_MAX ? NULL : calloc(1, (size_t)bytes);
    if (block == NULL)
        return error_set(e, BLEMISH_ERROR_MEMORY, "%s: TIFF block: no memory for %llu bytes", file->path,
                         (unsigned long long)bytes);
    BlemishStatus status = read_blocks(tif, &layout, file, wanted, message, block, (size_t)bytes, out, e);
    free(block);
    return status;
}

BlemishStatus tiff_decode(const Encoded *file, Wanted wanted, Decoded *out, Error *e) {
    TiffMessage message = {0};
    TiffSource source = {.file = file};
    TIFFOpenOptions *options = tiff_options(&message, e);
    if (options == NULL) return e->status;
    TIFF *tif = TIFFClientOpenExt("TIFF", "rm", &source, source_read, source_write, source_seek, source_close,
                                  source_size, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    if (tif == NULL)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: TIFF header: %s", file->path,
                         message.text[0] ? message.text : "cannot be read");
    message.text[0] = '\0'; /* what opening complained of and survived is no failure */
    BlemishStatus status = read_tiff(tif, file, wanted, &message, out, e);
    TIFFClose(tif);
    return status;
}
