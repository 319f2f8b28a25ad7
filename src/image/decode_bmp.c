/* Windows' and OS/2's bitmaps without compression, which is what the programs of line cameras write. All numbers are
 * little-endian: a header of the file (14 bytes), one of the picture, whose first number is its length, then perhaps
 * bit masks, a palette, and rows that are padded to 4 bytes, the lowest first unless the height is negative. */
#include "image/decode.h"

#include <string.h>

enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40, OS2_HEADER = 64, LAST_HEADER = 124 };
enum { COMPRESSION_NONE = 0, COMPRESSION_BIT_MASKS = 3, COMPRESSION_ALPHA_MASKS = 6 };

typedef struct Bitmap {
    size_t header, pixels; /* length of the picture's header; where the first row begins */
    size_t stride;
    bool top_down;
    uint32_t bits, compression, colours; /* colours: of the palette, 0 for as many as the bits tell apart */
    uint32_t mask[3];                    /* red, green and blue of a pixel of 16 bits and more */
    uint8_t palette[256][3];
} Bitmap;

static uint32_t number(const uint8_t *p, int bytes) {
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint32_t)p[i] << 8 * i;
    return v;
}

static BlemishStatus read_header(const Encoded *file, Bitmap *b, Decoded *out, Error *e) {
    const uint8_t *p = file->bytes + FILE_HEADER;
    b->header = file->size < FILE_HEADER + 4 ? 0 : number(p, 4);
    if ((b->header != CORE_HEADER && b->header < INFO_HEADER) || b->header > LAST_HEADER)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: BMP header: found a length of %zu, expected %d or %d to %d",
                         file->path, b->header, CORE_HEADER, INFO_HEADER, LAST_HEADER);
    if (file->size < FILE_HEADER + b->header)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: BMP header: found the end of the file", file->path);
    b->pixels = number(file->bytes + 10, 4);
    if (b->header == CORE_HEADER) {
        out->width = number(p + 4, 2);
        out->height = number(p + 6, 2);
        b->bits = number(p + 10, 2);
        return BLEMISH_OK;
    }
    const int64_t height = (int32_t)number(p + 8, 4);
    out->width = number(p + 4, 4); /* a negative one is beyond every limit */
    out->height = (size_t)(height < 0 ? -height : height);
    b->top_down = height < 0;
    b->bits = number(p + 14, 2);
    b->compression = number(p + 16, 4);
    b->colours = number(p + 32, 4);
    return BLEMISH_OK;
}

static bool is_run_of_bits(uint32_t mask) {
    while (mask && !(mask & 1)) mask >>= 1;
    return mask && !(mask & (mask + 1));
}

static BlemishStatus read_masks(const Encoded *file, Bitmap *b, Error *e) {
    static const uint32_t usual[2][3] = {{0x7c00, 0x3e0, 0x1f}, {0xff0000, 0xff00, 0xff}};
    memcpy(b->mask, usual[b->bits > 16], sizeof b->mask);
    if (b->compression == COMPRESSION_NONE) return BLEMISH_OK;
    const size_t at = FILE_HEADER + INFO_HEADER; /* in the header where it is longer, else behind it */
    if (file->size < at + 12)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: BMP bit masks: found the end of the file", file->path);
    for (size_t c = 0; c < 3; c++) {
        b->mask[c] = number(file->bytes + at + 4 * c, 4);
        if (!is_run_of_bits(b->mask[c]) || (b->bits == 16 && b->mask[c] > UINT16_MAX))
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: BMP bit masks: found 0x%x, expected bits in a row of %u",
                             file->path, (unsigned)b->mask[c], (unsigned)b->bits);
    }
    return BLEMISH_OK;
}

static BlemishStatus read_palette(const Encoded *file, Bitmap *b, Error *e) {
    const size_t at = FILE_HEADER + b->header, entry = b->header == CORE_HEADER ? 3 : 4, most = (size_t)1 << b->bits;
    const size_t colours = b->colours ? b->colours : most;
    b->colours = (uint32_t)colours;
    if (colours > most || b->pixels < at + colours * entry || b->pixels > file->size)
        return error_set(e, BLEMISH_ERROR_FORMAT,
                         "%s: BMP palette: found %zu colours and pixels from byte %zu, expected up to %zu before them",
                         file->path, colours, b->pixels, most);
    for (size_t i = 0; i < colours; i++)
        for (size_t c = 0; c < 3; c++) b->palette[i][c] = file->bytes[at + i * entry + 2 - c];
    return BLEMISH_OK;
}

static BlemishStatus read_layout(const Encoded *file, Bitmap *b, Decoded *out, Error *e) {
    if (read_header(file, b, out, e)) return e->status;
    const bool indexed = b->bits == 1 || b->bits == 2 || b->bits == 4 || b->bits == 8;
    if (!indexed && b->bits != 16 && b->bits != 24 && b->bits != 32)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: BMP bits per pixel: found %u, expected 1, 2, 4, 8, 16, 24 or 32",
                         file->path, (unsigned)b->bits);
    const bool masks = b->compression == COMPRESSION_BIT_MASKS || b->compression == COMPRESSION_ALPHA_MASKS;
    if (b->compression != COMPRESSION_NONE && !(masks && (b->bits == 16 || b->bits == 32) && b->header != OS2_HEADER))
        return error_set(e, BLEMISH_ERROR_UNSUPPORTED,
                         "%s: BMP compression: found %u%s at %u bits, expected 0 (none), or 3 (bit masks) at 16 or 32",
                         file->path, (unsigned)b->compression,
                         b->compression == 1 || b->compression == 2 ? " (run lengths)" : "", (unsigned)b->bits);
    if (decode_check_size(file->path, out->width, out->height, SIZE_MAX, e)) return e->status;
    b->stride = (out->width * b->bits + 31) / 32 * 4;
    const size_t rows = b->pixels < file->size ? (file->size - b->pixels) / b->stride : 0;
    if (decode_check_size(file->path, out->width, out->height, rows * out->width, e)) return e->status;
    if (indexed) return read_palette(file, b, e);
    if (b->pixels < FILE_HEADER + b->header)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: BMP pixels: found them from byte %zu, within the header",
                         file->path, b->pixels);
    return read_masks(file, b, e);
}

static BlemishStatus read_indexed_row(const char *path, const Bitmap *b, const uint8_t *from, size_t width, uint8_t *to,
                                      Error *e) {
    const uint32_t last = (1u << b->bits) - 1;
    for (size_t x = 0; x < width; x++, to += 3) {
        const size_t bit = x * b->bits; /* the leftmost pixel is in the highest bits */
        const uint32_t index = from[bit / 8] >> (8 - b->bits - bit % 8) & last;
        if (index >= b->colours)
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: BMP pixels: found colour %u, expected a palette's 0 to %u",
                             path, (unsigned)index, (unsigned)b->colours - 1);
        memcpy(to, b->palette[index], 3);
    }
    return BLEMISH_OK;
}

static void read_row(const Bitmap *b, const uint8_t *from, size_t width, Wanted wanted, uint8_t *to) {
    uint32_t shift[3], most[3];
    for (size_t c = 0; c < 3; c++) {
        shift[c] = (uint32_t)__builtin_ctz(b->mask[c]);
        most[c] = b->mask[c] >> shift[c];
    }
    const size_t bytes = b->bits / 8;
    for (size_t x = 0; x < width; x++, from += bytes, to += 3) {
        const uint32_t pixel = number(from, (int)bytes);
        for (size_t c = 0; c < 3; c++) {
            const uint32_t v = (pixel & b->mask[c]) >> shift[c];
            if (wanted == WANT_MASK)
                to[c] = v != 0;
            else
                to[c] = (uint8_t)(most[c] == 255 ? v : (255 * (uint64_t)v + most[c] / 2) / most[c]);
        }
    }
}

BlemishStatus bmp_decode(const Encoded *file, Wanted wanted, Decoded *out, Error *e) {
    Bitmap b = {0};
    if (read_layout(file, &b, out, e)) return e->status;
    if (wanted == WANT_SIZE) return BLEMISH_OK;
    if (image_new(&out->image, out->width, out->height, 3, e)) return e->status;
    for (size_t y = 0; y < out->height; y++) {
        const uint8_t *from = file->bytes + b.pixels + (b.top_down ? y : out->height - 1 - y) * b.stride;
        uint8_t *to = image_pixels(&out->image) + y * out->image.stride;
        if (b.bits > 8)
            read_row(&b, from, out->width, wanted, to);
        else if (read_indexed_row(file->path, &b, from, out->width, to, e))
            return e->status;
    }
    return BLEMISH_OK;
}
