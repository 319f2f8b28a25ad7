#include "image/decode_png.h"

#include <string.h>

#include <spng.h>

/* Largest text, profile or other side chunk, and all of them together. */
#define SIDE_CHUNKS_MAX ((size_t)32 << 20)

static BlemishStatus refuse(const Encoded *file, int code, Error *e) {
    if (code == SPNG_EMEM) return error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", file->path);
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: PNG data: found %s", file->path, spng_strerror(code));
}

/* Samples of one pixel; alpha is the second or the fourth. */
static size_t samples_of(const struct spng_ihdr *header) {
    if (header->color_type == SPNG_COLOR_TYPE_INDEXED) return 1;
    return (header->color_type & SPNG_COLOR_TYPE_TRUECOLOR ? 3u : 1u) +
           (header->color_type & SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ? 1u : 0u);
}

/* Row by row, so that the picture is never in memory at 16 bits too. An interlaced file's passes hold some pixels of
 * some rows each, which libspng puts where they belong in the row. */
static int read_16_bits(spng_ctx *png, const struct spng_ihdr *header, Wanted wanted, Decoded *out, Error *e) {
    static const uint8_t first[7] = {0, 4, 0, 2, 0, 1, 0}, step[7] = {8, 8, 4, 4, 2, 2, 1}; /* Adam7's columns */
    const size_t samples = samples_of(header), bytes = out->width * samples * sizeof(uint16_t);
    uint16_t *row = array_new(out->width * samples, sizeof *row, e);
    if (row == NULL) return SPNG_EMEM;
    int code = spng_decode_image(png, NULL, 0, SPNG_FMT_PNG, SPNG_DECODE_PROGRESSIVE);
    while (code == 0) {
        struct spng_row_info info;
        code = spng_get_row_info(png, &info);
        if (code == 0) code = spng_decode_row(png, row, bytes);
        if (code != 0 && code != SPNG_EOI) break;
        const int pass = header->interlace_method ? info.pass : 6;
        uint8_t *to = image_pixels(&out->image) + info.row_num * out->image.stride;
        for (size_t x = first[pass]; x < out->width; x += step[pass])
            for (size_t c = 0; c < 3; c++)
                to[3 * x + c] = decode_sample16(row[samples * x + (samples < 3 ? 0 : c)], wanted);
    }
    array_free(row);
    return code == SPNG_EOI ? 0 : code; /* told with the last row */
}

static BlemishStatus read_png(spng_ctx *png, const Encoded *file, Wanted wanted, Decoded *out, Error *e) {
    struct spng_ihdr header;
    struct spng_exif exif;
    int code = spng_set_crc_action(png, SPNG_CRC_ERROR, SPNG_CRC_ERROR);
    if (code == 0) code = spng_set_chunk_limits(png, SIDE_CHUNKS_MAX, SIDE_CHUNKS_MAX);
    if (code == 0) code = spng_set_png_buffer(png, file->bytes, file->size);
    if (code == 0) code = spng_get_ihdr(png, &header);
    if (code != 0) return refuse(file, code, e);
    out->width = header.width;
    out->height = header.height;
    size_t most; /* deflate's best is 1032 to 1 */
    if (!size_mul(file->size, 1032 * 8, &most)) most = SIZE_MAX;
    most /= header.bit_depth * samples_of(&header);
    if (decode_check_size(file->path, out->width, out->height, most, e) != BLEMISH_OK) return e->status;
    code = spng_get_exif(png, &exif); /* one before the pixels, so that probing need not read them */
    if (code == 0) out->orientation = exif_orientation((const uint8_t *)exif.data, exif.length);
    if (code != 0 && code != SPNG_ECHUNKAVAIL) return refuse(file, code, e);
    if (wanted == WANT_SIZE) return BLEMISH_OK;

    if (image_new_unset(&out->image, out->width, out->height, 3, e) != BLEMISH_OK) return e->status;
    const bool plain =
        header.bit_depth == 8 && !header.interlace_method && header.color_type != SPNG_COLOR_TYPE_INDEXED;
    if (plain && png_decode_plain(file, samples_of(&header), &out->image)) return BLEMISH_OK;
    if (header.bit_depth == 16)
        code = read_16_bits(png, &header, wanted, out, e);
    else
        code = spng_decode_image(png, image_pixels(&out->image), out->image.stride * out->height, SPNG_FMT_RGB8, 0);
    if (code == 0) code = spng_decode_chunks(png); /* up to the end chunk: notices a cut after the pixels */
    return code == 0 ? BLEMISH_OK : refuse(file, code, e);
}

BlemishStatus png_decode(const Encoded *file, Wanted wanted, Decoded *out, Error *e) {
    spng_ctx *png = spng_ctx_new(0);
    if (png == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", file->path);
    BlemishStatus status = read_png(png, file, wanted, out, e);
    spng_ctx_free(png);
    return status;
}
