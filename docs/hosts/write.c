/* Writes with an ONNX export of textgen by the C API of ONNX Runtime, 1.15 or later: cc write.c -lonnxruntime -lm

   ./write FOLDER PROMPT LENGTH SEED [LABEL]    prints what textgen sample prints
   ./write FOLDER                               checks the host: the largest difference from the golden vectors */
#include <math.h>
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1000, LONGEST = 200 }; /* tensors, and bytes of a name */
enum { FLOAT = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, INT64 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
       INT32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, BOOL = ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL };

static const OrtApi *ort;
static OrtAllocator *allocator;
static struct { char name[LONGEST]; OrtValue *value; } tensors[MOST];
static int count;

static void fail(const char *what, const char *why) { fprintf(stderr, "%s: %s\n", what, why), exit(1); }
static void must(OrtStatus *status) { if (status) fail("ONNX Runtime", ort->GetErrorMessage(status)); }

/* ---- Tensors by name: the inputs and outputs of the graphs, and the golden vectors. */

static OrtValue **named(const char *prefix, const char *name) { /* the place of one; empty if it is new */
  char whole[LONGEST];
  snprintf(whole, LONGEST, "%s%s", prefix, name);
  for (int i = 0; i < count; i++) if (!strcmp(tensors[i].name, whole)) return &tensors[i].value;
  if (count == MOST) fail("the export", "too many tensors");
  strcpy(tensors[count].name, whole);
  return &tensors[count++].value;
}

static void *data(OrtValue *tensor) { void *found; return must(ort->GetTensorMutableData(tensor, &found)), found; }

static void *make(const char *prefix, const char *name, int type, const int64_t *shape, size_t rank) {
  OrtValue **place = named(prefix, name);
  return must(ort->CreateTensorAsOrtValue(allocator, shape, rank, type, place)), data(*place);
}

static size_t size(OrtValue *tensor, ONNXTensorElementDataType *type) {
  OrtTensorTypeAndShapeInfo *info;
  size_t found;
  must(ort->GetTensorTypeAndShape(tensor, &info));
  must(ort->GetTensorElementType(info, type)), must(ort->GetTensorShapeElementCount(info, &found));
  return ort->ReleaseTensorTypeAndShapeInfo(info), found;
}

typedef struct { OrtSession *session; size_t inputs, outputs; char *in[MOST], *out[MOST]; } Graph;

static void open_graph(Graph *graph, OrtEnv *env, const char *folder, const char *name) {
  char path[4096];
  OrtSessionOptions *options;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  must(ort->CreateSessionOptions(&options)), must(ort->CreateSession(env, path, options, &graph->session));
  must(ort->SessionGetInputCount(graph->session, &graph->inputs));
  must(ort->SessionGetOutputCount(graph->session, &graph->outputs));
  for (size_t i = 0; i < graph->inputs; i++)
    must(ort->SessionGetInputName(graph->session, i, allocator, &graph->in[i]));
  for (size_t i = 0; i < graph->outputs; i++)
    must(ort->SessionGetOutputName(graph->session, i, allocator, &graph->out[i]));
}

static void run(Graph *graph, const char *prefix) { /* reads the tensors prefix + input, and names its outputs */
  const OrtValue *feeds[MOST];
  OrtValue *found[MOST] = {0};
  for (size_t i = 0; i < graph->inputs; i++)
    if (!(feeds[i] = *named(prefix, graph->in[i]))) fail(graph->in[i], "no such tensor");
  must(ort->Run(graph->session, NULL, (const char **)graph->in, feeds, graph->inputs, (const char **)graph->out,
                graph->outputs, found));
  for (size_t i = 0; i < graph->outputs; i++) *named("", graph->out[i]) = found[i];
}

/* ---- Files, and as much of JSON as they need. */

static char *content(const char *folder, const char *name) {
  char path[4096], *bytes;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) fail(path, "cannot be read");
  size_t length = ftell(file);
  bytes = calloc(length + 1, 1), rewind(file);
  if (fread(bytes, 1, length, file) != length) fail(path, "cannot be read");
  return fclose(file), bytes;
}

static char *after(char *json, const char *key) { /* the value of the next such key */
  char quoted[LONGEST];
  snprintf(quoted, LONGEST, "\"%s\":", key);
  char *found = json ? strstr(json, quoted) : NULL;
  return found ? found + strlen(quoted) + strspn(found + strlen(quoted), " \n") : NULL;
}

static char *string(char **json) { /* the next string, in UTF-8; what follows it */
  char *in = strchr(*json, '"') + 1, *end = in;
  while (*end != '"') end += *end == '\\' ? 2 : 1;
  char *start = malloc(end - in + 1), *out = start;
  for (; in < end; in++) {
    char *escaped = *in == '\\' ? strchr("n\nt\tr\rb\bf\f", *++in) : NULL;
    unsigned code;
    if (escaped) *out++ = escaped[1];
    else if (in[-1] == '\\' && *in == 'u') sscanf(in + 1, "%4x", &code), *out++ = code, in += 4; /* below U+0020 */
    else *out++ = *in;
  }
  *out = 0, *json = end + 1;
  return start;
}

/* ---- Philox4x64-10. */

static uint64_t word(uint64_t seed, uint64_t row, uint64_t step) {
  uint64_t x[4] = {step / 4 + 1, 0, 0, 0};
  for (int round = 0; round < 10; round++, seed += 0x9E3779B97F4A7C15u, row += 0xBB67AE8584CAA73Bu) {
    unsigned __int128 left = (unsigned __int128)0xD2E7470EE14C6C93u * x[0];
    unsigned __int128 right = (unsigned __int128)0xCA5A826395121157u * x[2];
    x[0] = (uint64_t)(right >> 64) ^ x[1] ^ seed, x[1] = right;
    x[2] = (uint64_t)(left >> 64) ^ x[3] ^ row, x[3] = left;
  }
  return x[step % 4];
}

static float uniform(uint64_t seed, uint64_t step) { return (word(seed, 0, step) >> 40) / 16777216.0f; }

/* ---- The host. */

static double number(OrtValue *tensor, size_t i, int type) {
  void *found = data(tensor);
  return type == FLOAT ? ((float *)found)[i] : type == INT64 ? ((int64_t *)found)[i] : ((int32_t *)found)[i];
}

static void check(const char *folder, Graph *graphs[2], char *host) {
  for (char *at = after(host, "seed"); at; at = after(at, "seed")) {
    char *list = after(at, "words"), *row = after(at, "row"), *step = after(at, "step"), *end = strchr(list, ']');
    for (uint64_t i = 0; strchr(list, '"') < end; i++)
      if (word(strtoull(at + 1, 0, 10), strtoull(row + 1, 0, 10), strtoull(step + 1, 0, 10) + i) !=
          strtoull(string(&list), 0, 16)) fail("random numbers", "wrong");
  }
  char *golden = content(folder, "golden.safetensors"), *start = golden + 8 + *(uint64_t *)golden, *at = golden + 8;
  while ((at = memchr(at, '"', start - at))) {
    char *name = string(&at), *type = after(at, "dtype"), *p = after(at, "shape"), *offsets = after(at, "data_offsets");
    int64_t shape[4], rank = 0;
    while (*p != ']') shape[rank++] = strtoll(p + 1, &p, 10);
    size_t from = strtoull(offsets + 1, &at, 10), to = strtoull(at + 1, &at, 10);
    memcpy(make("", name, type[1] == 'F' ? FLOAT : type[1] == 'B' ? BOOL : type[2] == '6' ? INT64 : INT32, shape, rank),
           start + from, to - from);
  }
  double largest = 0;
  for (int which = 0; which < 2; which++) {
    const char *prefix = which ? "generate." : "step.";
    run(graphs[which], prefix);
    for (size_t o = 0; o < graphs[which]->outputs; o++) {
      char *name = graphs[which]->out[o];
      OrtValue *expected = *named(prefix, name), *found = *named("", name);
      ONNXTensorElementDataType type;
      for (size_t i = 0, n = expected ? size(expected, &type) : 0; i < n; i++)
        if (number(expected, i, type) != 0 || strcmp(name, "logits")) /* at padding, logits are 0 */
          largest = fmax(largest, fabs(number(expected, i, type) - number(found, i, type)));
    }
  }
  printf("%g\n", largest);
}

static int64_t special(char *host, const char *name) { /* -1 for null */
  char *value = after(after(host, "special_ids"), name);
  return *value == 'n' ? -1 : atoll(value);
}

static int64_t draw_start(char *host, double uniform) { /* the first id, or label, of a text */
  char *end = after(host, "labels");
  double total = 0, sum = 0;
  for (int drawing = 0; drawing < 2; drawing++)
    for (char *at = after(host, "starts"); (at = strpbrk(at, "0123456789")) < end;) {
      int64_t id = strtoll(at, &at, 10), number = strtoll(strpbrk(at, "0123456789"), &at, 10);
      if (drawing && (sum += number) > uniform * total) return id;
      if (!drawing) total += number;
    }
  fail("starts", "none; give a prompt");
  return 0;
}

static void write_text(Graph *step, Graph *generate, char *about, char *host, char **arguments, const char *label) {
  int64_t vocabulary = atoll(after(about, "vocab_size")), one[] = {1, 1}, end = special(host, "end"), n = 0;
  char *prompt = arguments[0], *way = after(host, "on_unknown"), *labels = after(host, "labels");
  uint64_t length = strtoull(arguments[1], 0, 10), seed = strtoull(arguments[2], 0, 10);
  char **texts = malloc(vocabulary * sizeof *texts), *list = after(host, "texts");
  for (int64_t id = 0; id < vocabulary; id++) texts[id] = string(&list);

  int64_t *ids = (int64_t *)malloc((strlen(prompt) + 2) * sizeof *ids) + 1; /* a first id has room before them */
  for (size_t at = 0, bytes; prompt[at]; at += bytes) {
    for (bytes = 1; (prompt[at + bytes] & 0xC0) == 0x80;) bytes++;
    int64_t id = vocabulary;
    while (--id >= 0)
      if (strlen(texts[id]) == bytes && !memcmp(texts[id], prompt + at, bytes) && id != end &&
          id != special(host, "unknown")) break;
    if (id < 0 && way[1] == 'e') fail(prompt + at, "its first character is not in the vocabulary");
    if (id < 0 && way[1] == 'u') id = special(host, "unknown");
    if (id >= 0) ids[n++] = id;
  }
  if (*prompt && !n) fail(prompt, "nothing of it is in the vocabulary");
  int has_labels = labels[1 + strspn(labels + 1, " \n")] != ']';
  if (label) {
    for (char *name = NULL; !name || strcmp(name, label);)
      if ((name = string(&labels), labels) > after(host, "random")) fail(label, "no such label");
    *--ids = strtoll(labels + 1, 0, 10), n++;
  } else if (has_labels || !n) {
    *--ids = draw_start(host, uniform(seed, 0)), n++;
    if (!has_labels) prompt = texts[*ids];
  }
  fputs(prompt, stdout);

  memcpy(make("", "ids", INT64, (int64_t[]){1, n}, 2), ids, n * sizeof *ids);
  *(int64_t *)make("", "lengths", INT64, one, 1) = n - 1;
  for (size_t i = 0; i < step->inputs; i++) {
    OrtTypeInfo *info;
    const OrtTensorTypeAndShapeInfo *shaped;
    ONNXTensorElementDataType type;
    int64_t shape[] = {1, 1};
    size_t rank;
    if (strncmp(step->in[i], "past.", 5)) continue;
    must(ort->SessionGetInputTypeInfo(step->session, i, &info)), must(ort->CastTypeInfoToTensorInfo(info, &shaped));
    must(ort->GetTensorElementType(shaped, &type)), must(ort->GetDimensionsCount(shaped, &rank));
    must(ort->GetDimensions(shaped, shape, rank)), shape[0] = 1;
    void *state = make("", step->in[i], type, shape, rank);
    if ((int)type == INT32) *(int32_t *)state = 1; /* the context of an n-gram */
    else memset(state, 0, shape[1] * sizeof(float));
  }
  run(step, "");
  for (size_t i = 0; i < step->outputs; i++)
    if (!strncmp(step->out[i], "present.", 8)) *named("past.", step->out[i] + 8) = *named("", step->out[i]);

  *(int64_t *)make("", "last_ids", INT64, one, 1) = ids[n - 1];
  float *uniforms = make("", "uniforms", FLOAT, (int64_t[]){length, 1}, 2);
  for (uint64_t i = 0; i < length; i++) uniforms[i] = uniform(seed, i + 1);
  for (size_t i = 0; i < generate->inputs; i++) {
    char *name = generate->in[i];
    if (!strcmp(name, "seen")) {
      char *seen = memset(make("", name, BOOL, (int64_t[]){1, vocabulary}, 2), 0, vocabulary);
      for (int64_t j = 0; j < n; j++) seen[ids[j]] = 1;
    } else if (!*named("", name)) { /* a number of the sampler chain */
      *(float *)make("", name, FLOAT, one, 2) = strtod(after(after(about, "parameters"), name), 0);
    }
  }
  run(generate, "");
  int64_t *written = data(*named("", "ids"));
  for (uint64_t i = 0; i < length && written[i] != end; i++) fputs(texts[written[i]], stdout);
  putchar('\n');
}

int main(int given, char **arguments) {
  static Graph step, generate;
  OrtEnv *env;
  if (given != 2 && given != 5 && given != 6) fail("usage", "write FOLDER [PROMPT LENGTH SEED [LABEL]]");
  ort = OrtGetApiBase()->GetApi(15); /* the functions that ONNX Runtime 1.15 has */
  must(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "textgen", &env));
  must(ort->GetAllocatorWithDefaultOptions(&allocator));
  open_graph(&step, env, arguments[1], "step.onnx"), open_graph(&generate, env, arguments[1], "generate.onnx");
  char *about = content(arguments[1], "textgen.json"), *host = after(after(about, "export"), "host");
  if (!host) fail(arguments[1], "says nothing to hosts, since an older textgen wrote it: export the run again");
  if (*after(host, "is_characters") != 't') fail(arguments[1], "this host needs an id for each character");
  if (given == 2) check(arguments[1], (Graph *[]){&step, &generate}, host);
  else write_text(&step, &generate, about, host, arguments + 2, arguments[5]);
  return 0;
}
