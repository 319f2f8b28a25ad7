/* The least a program needs: open a model, run an image, print its score.
 *
 *   cc score.c $(pkg-config --cflags --libs blemish) -o score
 *   ./score parts.blemish photo.jpg
 */
#include <blemish/blemish.h>

#include <stdio.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL IMAGE\n", argv[0]);
        return 2;
    }
    BlemishModel *model;
    BlemishSession *session = NULL;
    BlemishResult result;
    const char *error = NULL;
    if (blemish_model_open(&model, argv[1])) {
        error = blemish_model_error(model);
    } else if (blemish_session_open(&session, model, NULL) || blemish_session_run_file(session, argv[2], &result)) {
        error = blemish_session_error(session);
    } else {
        printf("%s: score %.4f, %s\n", argv[2], (double)result.score, result.defect ? "defect" : "good");
    }
    if (error) fprintf(stderr, "%s\n", error);
    blemish_session_close(session);
    blemish_model_close(model);
    return error != NULL;
}
