/* AdamW as a target of refopt: reads requests from stdin, a line each, and writes replies to stdout.
 *
 *     cc -DREAL=float -DDTYPE='"float32"' adamw.c -lm -o adamw
 *     refopt check exec:./adamw --spec adamw
 *
 * refopt writes keys in the order of the protocol and nothing between tokens, so that strstr finds
 * what a request holds; a program with a JSON library at hand would use that. -DMISTAKE puts
 * epsilon inside the root.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARRAYS = 64 };

static REAL *theta[ARRAYS], *g[ARRAYS], *m[ARRAYS], *v[ARRAYS];
static int size[ARRAYS], t[ARRAYS], count;
static double lr, beta1, beta2, eps, weight_decay;

/* The text after a key of the request. */
static char *after(char *line, const char *key) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    char *found = strstr(line, quoted);
    if (!found) {
        fprintf(stderr, "no %s in the request\n", key);
        exit(1);
    }
    return found + strlen(quoted);
}

static double hyperparameter(char *line, const char *key) { return strtod(after(line, key) + 1, NULL); }

/* Reads ["0x1p+0",...] into an array, counts its elements, and returns what follows it. */
static char *read_array(char *text, REAL *array, int *elements) {
    *elements = 0;
    for (text++; *text != ']'; text++)
        if (*text == '"') {
            double value = strtod(text + 1, &text); /* leaves text at the closing quote */
            if (array) array[*elements] = (REAL)value;
            ++*elements;
        }
    return text + 1;
}

static void write_arrays(const char *key, REAL *arrays[]) {
    printf(",\"%s\":[", key);
    for (int i = 0; i < count; i++) {
        printf(i ? ",[" : "[");
        for (int j = 0; j < size[i]; j++) printf("%s\"%a\"", j ? "," : "", (double)arrays[i][j]);
        printf("]");
    }
    printf("]");
}

/* Reads [[...],null,...], and says which are there. */
static void read_arrays(char *text, REAL *arrays[], int present[]) {
    for (int i = 0; i < count; i++) {
        int elements;
        text++; /* the bracket or comma before */
        present[i] = *text == '[';
        text = present[i] ? read_array(text, arrays[i], &elements) : text + strlen("null");
    }
}

static void init(char *line) {
    char *text = after(line, "params");
    for (count = 0; text[1] == '[' && count < ARRAYS; count++) {
        read_array(text + 1, NULL, &size[count]);
        REAL **all[] = {theta, g, m, v};
        for (int k = 0; k < 4; k++) all[k][count] = calloc(size[count] + 1, sizeof(REAL));
        text = read_array(text + 1, theta[count], &size[count]);
    }
    lr = hyperparameter(line, "lr"), eps = hyperparameter(line, "eps");
    beta1 = hyperparameter(line, "beta1"), beta2 = hyperparameter(line, "beta2");
    weight_decay = hyperparameter(line, "weight_decay");
}

static void step(char *line) {
    int present[ARRAYS];
    read_arrays(after(line, "gradients"), g, present);
    for (int i = 0; i < count; i++) {
        if (!present[i]) continue;
        t[i]++;
        REAL correction1 = (REAL)(1 - pow(beta1, t[i])), correction2 = (REAL)(1 - pow(beta2, t[i]));
        for (int j = 0; j < size[i]; j++) {
            m[i][j] = (REAL)beta1 * m[i][j] + (REAL)(1 - beta1) * g[i][j];
            v[i][j] = (REAL)beta2 * v[i][j] + (REAL)(1 - beta2) * g[i][j] * g[i][j];
            REAL m_hat = m[i][j] / correction1, v_hat = v[i][j] / correction2;
#ifdef MISTAKE
            REAL h = m_hat / (REAL)sqrt(v_hat + (REAL)eps);
#else
            REAL h = m_hat / ((REAL)sqrt(v_hat) + (REAL)eps);
#endif
            theta[i][j] -= (REAL)lr * (h + (REAL)weight_decay * theta[i][j]);
        }
    }
}

static void save(void) {
    printf(",\"state\":{\"lr\":\"%a\",\"t\":[", lr);
    for (int i = 0; i < count; i++) printf(i ? ",%d" : "%d", t[i]);
    printf("]");
    write_arrays("m", m), write_arrays("v", v), printf("}");
}

static void load(char *line) {
    int present[ARRAYS];
    lr = hyperparameter(line, "lr");
    char *text = after(line, "t");
    for (int i = 0; i < count; i++) t[i] = (int)strtol(text + 1, &text, 10);
    read_arrays(after(line, "m"), m, present), read_arrays(after(line, "v"), v, present);
}

int main(void) {
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        char *method = after(line, "method") + 1;
        int is_init = !strncmp(method, "init\"", 5), is_step = !strncmp(method, "step\"", 5);
        if (!strncmp(method, "stop\"", 5)) break;
        printf("{\"id\":%ld", strtol(after(line, "id"), NULL, 10));
        if (!strncmp(method, "start\"", 6))
            printf(",\"protocol\":1,\"name\":\"adamw.c\","
                   "\"accepts\":[\"lr\",\"beta1\",\"beta2\",\"eps\",\"weight_decay\"],"
                   "\"supports\":[\"set_lr\",\"save_load\",\"missing\"]");
        else if (is_init && strncmp(after(line, "dtype") + 1, DTYPE, strlen(DTYPE)))
            printf(",\"skip\":\"this build computes in %s\"", DTYPE);
        else if (is_init)
            init(line);
        else if (is_step)
            step(line), write_arrays("params", theta);
        else if (!strncmp(method, "set_lr\"", 7))
            lr = hyperparameter(line, "lr");
        else if (!strncmp(method, "save\"", 5))
            save();
        else if (!strncmp(method, "load\"", 5))
            load(line);
        else
            printf(",\"error\":\"no such method\"");
        puts("}");
        fflush(stdout);
    }
    return 0;
}
