#include "image/decode.h"

#include <string.h>

#include <spng.h>

/* Largest text, profile or other side chunk, and all of them together. */
#define SIDE_CHUNKS_MAX ((size_t)32 << 20)

static BlemishStatus refuse(const Encoded *file, int code, Error *e) {
    if (code == SPNG_EMEM) return error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", file->path);
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: PNG data: found %s", file->path, spng_strerror(code));
}

/* 16-bit rows of 1 to 4 channels; alpha is the second or the fourth. */
static int read_16_bits(spng_ctx *png, Wanted wanted, int channels, Decoded *out, Error *e) {
    size_t pixels = out->width * out->height, samples = (size_t)channels;
    uint16_t *wide = array_new(pixels * samples, sizeof *wide, e);
    if (wide == NULL) return SPNG_EMEM;
    int code = spng_decode_image(png, wide, pixels * samples * sizeof *wide, SPNG_FMT_PNG, 0);
    uint8_t *to = image_pixels(&out->image);
    for (size_t i = 0; code == 0 && i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            to[3 * i + c] = decode_sample16(wide[samples * i + (channels < 3 ? 0 : c)], wanted);
    array_free(wide);
    return code;
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
    size_t most; /* deflate's best is 1032 to 1, of 8 pixels a byte */
    if (!size_mul(file->size, 1032 * 8, &most)) most = SIZE_MAX;
    if (decode_check_size(file->path, out->width, out->height, most, e) != BLEMISH_OK) return e->status;
    code = spng_get_exif(png, &exif); /* one before the pixels, so that probing need not read them */
    if (code == 0) out->orientation = exif_orientation((const uint8_t *)exif.data, exif.length);
    if (code != 0 && code != SPNG_ECHUNKAVAIL) return refuse(file, code, e);
    if (wanted == WANT_SIZE) return BLEMISH_OK;

    if (image_new(&out->image, out->width, out->height, 3, e) != BLEMISH_OK) return e->status;
    if (header.bit_depth == 16) {
        int colour = header.color_type & SPNG_COLOR_TYPE_TRUECOLOR, alpha = header.color_type & 4;
        code = read_16_bits(png, wanted, (colour ? 3 : 1) + (alpha ? 1 : 0), out, e);
    } else {
        code = spng_decode_image(png, image_pixels(&out->image), out->image.stride * out->height, SPNG_FMT_RGB8, 0);
    }
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
