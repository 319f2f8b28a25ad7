#include "report.h"

#include <string.h>

/* report/page.html with its style sheet and script in place, made by the build (cmake/embed.cmake). */
extern const char report_template[];

/* JSON between <script> tags: nothing in it may look like HTML. Outside of strings JSON has none of these. */
static int put_json(const char *text, size_t length, void *out) {
    for (size_t i = 0; i < length; i++) {
        if (strchr("<>&", text[i]) && text[i])
            fprintf(out, "\\u%04x", (unsigned)text[i]);
        else
            fputc(text[i], out);
    }
    return ferror((FILE *)out) ? -1 : 0;
}

static void put_base64(FILE *out, const uint8_t *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const uint32_t three =
            (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        fputc(digits[three >> 18], out);
        fputc(digits[three >> 12 & 63], out);
        fputc(left > 1 ? digits[three >> 6 & 63] : '=', out);
        fputc(left > 2 ? digits[three & 63] : '=', out);
    }
}

static void put_pictures(FILE *out, const Pictures *pictures) {
    fputc('[', out);
    for (size_t i = 0; i < pictures->count[0]; i++) {
        const KeptPictures *kept = &pictures->kept[0][i];
        fputs(i ? ",\n[" : "\n[", out);
        for (int kind = 0; kind < BLEMISH_PICTURES; kind++) {
            if (kind) fputc(',', out);
            if (!kept->bytes[kind]) {
                fputs("null", out);
                continue;
            }
            fprintf(out, "\"data:image/%s;base64,", kind == BLEMISH_PICTURE_IMAGE ? "jpeg" : "png");
            put_base64(out, kept->bytes[kind], kept->sizes[kind]);
            fputc('"', out);
        }
        fputc(']', out);
    }
    fputc(']', out);
}

bool report_page(FILE *out, const Report *report, const json_t *data) {
    static const char data_mark[] = "{{data}}", pictures_mark[] = "{{pictures}}";
    const char *first = strstr(report_template, data_mark), *second = strstr(first, pictures_mark);
    fwrite(report_template, 1, (size_t)(first - report_template), out);
    json_t *shown = json_copy((json_t *)data); // json_copy changes nothing
    json_object_del(shown, "resampled");
    const bool dumped = !json_dump_callback(shown, put_json, out, JSON_COMPACT | JSON_REAL_PRECISION(JSON_DIGITS));
    json_decref(shown);
    if (!dumped) return false;
    first += sizeof data_mark - 1;
    fwrite(first, 1, (size_t)(second - first), out);
    put_pictures(out, &report->pictures);
    fputs(second + sizeof pictures_mark - 1, out);
    return !ferror(out);
}
