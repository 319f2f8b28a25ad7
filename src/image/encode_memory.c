/* Pictures for a report, encoded in memory. */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#include <spng.h>
#include <turbojpeg.h>

BlemishStatus image_encode_jpeg(const BlemishImage *image, int quality, uint8_t **bytes, size_t *size, Error *e) {
    tjhandle encoder = tjInitCompress();
    if (encoder == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "JPEG encoder: out of memory");
    unsigned char *made = NULL;
    unsigned long length = 0;
    const bool colour = image->channels == 3;
    int code =
        tjCompress2(encoder, image->data, (int)image->width, (int)image->stride, (int)image->height,
                    colour ? TJPF_RGB : TJPF_GRAY, &made, &length, colour ? TJSAMP_420 : TJSAMP_GRAY, quality, 0);
    BlemishStatus status = BLEMISH_OK;
    if (code)
        status = error_set(e, BLEMISH_ERROR_INTERNAL, "JPEG encoder: %s", tjGetErrorStr2(encoder));
    else if ((*bytes = malloc(length)) == NULL)
        status = error_set(e, BLEMISH_ERROR_MEMORY, "JPEG encoder: out of memory");
    else
        memcpy(*bytes, made, *size = length);
    tjFree(made);
    tjDestroy(encoder);
    return status;
}

static int encode_indexed(spng_ctx *png, const uint8_t *indexes, size_t width, size_t height, const Palette *palette) {
    struct spng_ihdr header = {
        .width = (uint32_t)width, .height = (uint32_t)height, .bit_depth = 8, .color_type = SPNG_COLOR_TYPE_INDEXED};
    struct spng_plte colours = {.n_entries = (uint32_t)palette->count};
    struct spng_trns alpha = {.n_type3_entries = (uint32_t)palette->count};
    for (size_t i = 0; i < palette->count; i++) {
        const uint8_t *c = palette->rgba[i];
        colours.entries[i] = (struct spng_plte_entry){.red = c[0], .green = c[1], .blue = c[2]};
        alpha.type3_alpha[i] = c[3];
    }
    int code = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (code == 0) code = spng_set_ihdr(png, &header);
    if (code == 0) code = spng_set_plte(png, &colours);
    if (code == 0) code = spng_set_trns(png, &alpha);
    if (code == 0) code = spng_encode_image(png, indexes, width * height, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    return code;
}

BlemishStatus image_encode_indexed(const uint8_t *indexes, size_t width, size_t height, const Palette *palette,
                                   uint8_t **bytes, size_t *size, Error *e) {
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    if (png == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "PNG encoder: out of memory");
    int code = encode_indexed(png, indexes, width, height, palette);
    *bytes = code ? NULL : spng_get_png_buffer(png, size, &code);
    spng_ctx_free(png);
    if (*bytes != NULL) return BLEMISH_OK;
    return error_set(e, code == SPNG_EMEM ? BLEMISH_ERROR_MEMORY : BLEMISH_ERROR_INTERNAL, "PNG encoder: %s",
                     spng_strerror(code));
}
