#include "image/decode.h"

#include <setjmp.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

/* Of a file in several scans, as progressive ones are, libjpeg keeps the coefficients: 6 bytes a pixel at full colour
 * resolution, 3 at a quarter of it. */
enum { COEFFICIENTS_MAX = 1 << 30 };

/* Everything that changes between setjmp and longjmp lives here, not in locals, which longjmp would clobber. */
typedef struct JpegReader {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    bool out_of_memory, over_limit;
    char message[JMSG_LENGTH_MAX];
} JpegReader;

static void stop(j_common_ptr info) {
    JpegReader *r = info->client_data;
    info->err->format_message(info, r->message);
    r->over_limit = info->err->msg_code == JERR_NO_BACKING_STORE; /* what its memory manager needs past its limit */
    r->out_of_memory = info->err->msg_code == JERR_OUT_OF_MEMORY;
    longjmp(r->escape, 1);
}

/* libjpeg's warnings say that data was lost and grey put in its place: that is a failure here. Two are harmless:
 * padding before the end marker, which cameras write, and a new JFIF version. */
static void stop_on_warning(j_common_ptr info, int level) {
    if (level >= 0 || info->err->msg_code == JWRN_JFIF_MAJOR) return;
    if (info->err->msg_code == JWRN_EXTRANEOUS_DATA && info->err->msg_parm.i[1] == JPEG_EOI) return;
    stop(info);
}

/* A progressive file may repeat scans without end, each a pass over the whole picture; encoders write about ten. */
static void limit_scans(j_common_ptr info) {
    JpegReader *r = info->client_data;
    if (r->info.input_scan_number <= 100) return;
    snprintf(r->message, sizeof r->message, "found more than 100 scans");
    longjmp(r->escape, 1);
}

static int orientation(const struct jpeg_decompress_struct *info) {
    for (jpeg_saved_marker_ptr m = info->marker_list; m != NULL; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            return exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

/* Blocks of 8 x 8 coefficients in all components. */
static size_t blocks_of(const struct jpeg_decompress_struct *info) {
    size_t blocks = 0;
    for (int i = 0; i < info->num_components; i++)
        blocks += (size_t)info->comp_info[i].width_in_blocks * info->comp_info[i].height_in_blocks;
    return blocks;
}

static BlemishStatus read_jpeg(JpegReader *r, const Encoded *file, Wanted wanted, Decoded *out, Error *e) {
    struct jpeg_decompress_struct *info = &r->info;
    if (setjmp(r->escape)) {
        if (r->over_limit)
            return error_set(e, BLEMISH_ERROR_MEMORY,
                             "%s: size: found %zu x %zu pixels in several scans, expected less than %d MiB of "
                             "coefficients",
                             file->path, out->width, out->height, COEFFICIENTS_MAX >> 20);
        if (r->out_of_memory) return error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", file->path);
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: JPEG data: %s", file->path, r->message);
    }
    jpeg_create_decompress(info); /* keeps err and client_data */
    info->progress = &r->progress;
    info->mem->max_memory_to_use = COEFFICIENTS_MAX;
    jpeg_mem_src(info, file->bytes, file->size);
    jpeg_save_markers(info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(info, TRUE);
    out->width = info->image_width;
    out->height = info->image_height;
    out->orientation = orientation(info);
    /* A block's first coefficient takes a bit at least, in a progressive file too, whose later scans may leave out the
     * others. So its coefficients, 128 bytes a block, take at most 1024 times the file's length. */
    const size_t most = blocks_of(info) / 8 > file->size ? 0 : SIZE_MAX;
    if (decode_check_size(file->path, out->width, out->height, most, e) != BLEMISH_OK) return e->status;
    if (info->num_components != 1 && info->num_components != 3)
        return error_set(e, BLEMISH_ERROR_UNSUPPORTED,
                         "%s: JPEG components: found %d (CMYK has 4), expected 1 (grey) or 3 (colour)", file->path,
                         info->num_components);
    if (wanted == WANT_SIZE) return BLEMISH_OK;
    info->out_color_space = JCS_RGB;
    jpeg_start_decompress(info); /* before the picture: it reads the whole of a progressive file */
    if (image_new_unset(&out->image, out->width, out->height, 3, e) != BLEMISH_OK) return e->status;
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = image_pixels(&out->image) + info->output_scanline * out->image.stride;
        jpeg_read_scanlines(info, &row, 1);
        for (size_t i = 0; wanted == WANT_MASK && i < 3 * out->width; i++) row[i] = decode_lossy_mask(row[i]);
    }
    jpeg_finish_decompress(info); /* up to the end marker: notices a cut after the last row */
    return BLEMISH_OK;
}

BlemishStatus jpeg_decode(const Encoded *file, Wanted wanted, Decoded *out, Error *e) {
    JpegReader r = {0};
    r.info.err = jpeg_std_error(&r.errors);
    r.info.client_data = &r;
    r.errors.error_exit = stop;
    r.errors.emit_message = stop_on_warning;
    r.progress.progress_monitor = limit_scans;
    BlemishStatus status = read_jpeg(&r, file, wanted, out, e);
    jpeg_destroy_decompress(&r.info);
    return status;
}
