#include "image/image.h"
#include "image/tiff.h"

#include <stdlib.h>
#include <unistd.h>

#include <spng.h>

static BlemishStatus check_size(const char *path, size_t width, size_t height, Error *e) {
    if (width >= 1 && height >= 1 && width <= INT32_MAX && height <= INT32_MAX) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: size: found %zu x %zu pixels, expected sides of 1 to %d", path,
                     width, height, INT32_MAX);
}

static int encode_png(spng_ctx *png, const BlemishImage *image) {
    struct spng_ihdr header = {.width = (uint32_t)image->width,
                               .height = (uint32_t)image->height,
                               .bit_depth = 8,
                               .color_type =
                                   image->channels == 3 ? SPNG_COLOR_TYPE_TRUECOLOR : SPNG_COLOR_TYPE_GRAYSCALE};
    int code = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (code == 0) code = spng_set_ihdr(png, &header);
    if (code == 0) code = spng_encode_image(png, NULL, 0, SPNG_FMT_PNG, SPNG_ENCODE_PROGRESSIVE | SPNG_ENCODE_FINALIZE);
    for (size_t y = 0; code == 0 && y < image->height; y++)
        code = spng_encode_row(png, image->data + y * image->stride, image->width * (size_t)image->channels);
    return code == SPNG_EOI ? 0 : code; /* the last row's answer */
}

BlemishStatus image_write_png(const BlemishImage *image, const char *path, Error *e) {
    if (check_size(path, image->width, image->height, e) != BLEMISH_OK) return e->status;
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    if (png == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", path);
    size_t size = 0;
    int code = encode_png(png, image);
    void *bytes = code == 0 ? spng_get_png_buffer(png, &size, &code) : NULL;
    spng_ctx_free(png);
    BlemishStatus status;
    if (bytes != NULL)
        status = atomic_write_file(path, bytes, size, e);
    else
        status = error_set(e, code == SPNG_EMEM ? BLEMISH_ERROR_MEMORY : BLEMISH_ERROR_INTERNAL, "%s: PNG encoder: %s",
                           path, spng_strerror(code));
    free(bytes);
    return status;
}

static bool encode_tiff(TIFF *tif, const float *values, size_t width, size_t height) {
    TIFFSetField(tif, TIFFTAG_IMAGEWIDTH, (uint32_t)width);
    TIFFSetField(tif, TIFFTAG_IMAGELENGTH, (uint32_t)height);
    TIFFSetField(tif, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(tif, TIFFTAG_BITSPERSAMPLE, 32);
    TIFFSetField(tif, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_IEEEFP);
    TIFFSetField(tif, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    TIFFSetField(tif, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    TIFFSetField(tif, TIFFTAG_ROWSPERSTRIP, TIFFDefaultStripSize(tif, 0));
    for (size_t y = 0; y < height; y++) /* libtiff takes no const, but only swaps bytes for foreign byte orders */
        if (TIFFWriteScanline(tif, (void *)(values + y * width), (uint32_t)y, 0) < 0) return false;
    return TIFFFlush(tif) != 0;
}

BlemishStatus image_write_tiff_f32(const float *values, size_t width, size_t height, const char *path, Error *e) {
    if (check_size(path, width, height, e) != BLEMISH_OK) return e->status;
    TiffMessage message = {0};
    TIFFOpenOptions *options = tiff_options(&message, e);
    if (options == NULL) return e->status;
    AtomicFile file;
    if (atomic_open(&file, path, e) != BLEMISH_OK) {
        TIFFOpenOptionsFree(options);
        return e->status;
    }
    int fd = dup(fileno(file.file)); /* TIFFClose closes its own */
    TIFF *tif = fd < 0 ? NULL : TIFFFdOpenExt(fd, "TIFF", "w", options);
    TIFFOpenOptionsFree(options);
    bool written = tif != NULL && encode_tiff(tif, values, width, height);
    if (tif != NULL)
        TIFFClose(tif);
    else if (fd >= 0)
        close(fd);
    if (written && message.text[0] == '\0') return atomic_commit(&file, e);
    atomic_abandon(&file);
    return error_set(e, BLEMISH_ERROR_IO, "%s: cannot write: %s", path, message.text[0] ? message.text : "no handle");
}
