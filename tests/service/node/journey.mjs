// A user's journey with OpenAI's own client for Node: `node journey.mjs URL` prints one JSON object, a key a step.
import OpenAI, { toFile } from "openai";

const baseURL = process.argv[2] + "/v1";
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const model = "demo";
const question = [{ role: "user", content: "What is 39 + 48?" }];
const story = [{ role: "user", content: "Tell me a story about a fox named Pip." }];
const askWeather = [{ role: "user", content: "What is the weather in Oslo?" }];
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather in a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string", maxLength: 12 }, unit: { enum: ["celsius", "fahrenheit"] } },
      required: ["city", "unit"],
      additionalProperties: false,
    },
  },
};
const person = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

const steps = {
  async models() {
    const ids = [];
    for await (const found of client.models.list()) ids.push(found.id);
    return ids;
  },

  async chat() {
    const { data, response, request_id } = await client.chat.completions
      .create({ model, messages: question, temperature: 0 })
      .withResponse();
    return { text: data.choices[0].message.content, refusal: data.choices[0].message.refusal, usage: data.usage,
      requestId: request_id, contentType: response.headers.get("content-type") };
  },

  async stream() {
    const stream = await client.chat.completions.create({
      model, messages: question, temperature: 0, stream: true, stream_options: { include_usage: true } });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return { text: chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.delta.content ?? "").join(""),
      usage: chunks.at(-1).usage, lastChoices: chunks.at(-1).choices };
  },

  async leftEarly() {
    const stream = await client.chat.completions.create({
      model, messages: story, max_tokens: 1900, ignore_eos: true, stream: true });
    for await (const _ of stream) break;
    return true;
  },

  async aborted() {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    return failure(client.chat.completions.create(
      { model, messages: story, max_tokens: 1900, ignore_eos: true }, { signal: controller.signal }));
  },

  async tools() {
    const first = await client.chat.completions.create({
      model, messages: askWeather, tools: [weather], tool_choice: "required", temperature: 0, max_tokens: 200 });
    const { message, finish_reason } = first.choices[0];
    const call = message.tool_calls[0];
    const second = await client.chat.completions.create({
      model, tools: [weather], tool_choice: "none", max_tokens: 40,
      messages: [...askWeather, message, { role: "tool", tool_call_id: call.id, content: '{"temperature": 4}' }] });
    return { finish_reason, name: call.function.name, arguments: JSON.parse(call.function.arguments),
      after: second.choices[0].message.content };
  },

  async toolsStreamed() {
    const runner = client.chat.completions.stream({
      model, messages: askWeather, tools: [weather], temperature: 0, max_tokens: 200,
      tool_choice: { type: "function", function: { name: "get_weather" } } });
    const final = await runner.finalChatCompletion();
    return JSON.parse(final.choices[0].message.tool_calls[0].function.arguments);
  },

  async structured() {
    const answer = await client.chat.completions.create({
      model, temperature: 0, max_tokens: 100, messages: [{ role: "user", content: "Fill in: Mara is 31 years old." }],
      response_format: { type: "json_schema", json_schema: { name: "person", strict: true, schema: person } } });
    return JSON.parse(answer.choices[0].message.content);
  },

  async embeddings() {
    const packed = await client.embeddings.create({ model, input: ["a fox", "a hen"] });
    const plain = await client.embeddings.create({ model, input: ["a fox", "a hen"], encoding_format: "float" });
    const furthest = Math.max(...packed.data.flatMap((item, i) =>
      item.embedding.map((value, j) => Math.abs(value - plain.data[i].embedding[j]))));
    return { count: packed.data.length, length: packed.data[0].embedding.length, furthest };
  },

  async completions() {
    const answer = await client.completions.create({ model, prompt: ["Once", "Twice"], max_tokens: 5, seed: 1 });
    return answer.choices.map((choice) => choice.index);
  },

  async responses() {
    const first = await client.responses.create({ model, input: "What is 39 + 48?", temperature: 0 });
    const second = await client.responses.create({
      model, input: "And 1 + 1?", previous_response_id: first.id, max_output_tokens: 20 });
    const again = await client.responses.retrieve(first.id);
    await client.responses.delete(first.id);
    const gone = await failure(client.responses.retrieve(first.id));
    return { text: first.output_text, again: again.output_text, previous: second.previous_response_id === first.id, gone };
  },

  async responseEvents() {
    const events = [];
    const stream = await client.responses.create({ model, input: "What is 39 + 48?", temperature: 0, stream: true });
    for await (const event of stream) events.push(event);
    return { types: events.map((event) => event.type), numbers: events.map((event) => event.sequence_number),
      text: events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("") };
  },

  async batch() {
    const lines = [0, 1, 2].map((n) => JSON.stringify({
      custom_id: `q${n}`, method: "POST", url: "/v1/chat/completions",
      body: { model, messages: question, temperature: 0 } }));
    const file = await client.files.create({
      file: await toFile(Buffer.from(lines.join("\n")), "questions.jsonl"), purpose: "batch" });
    let batch = await client.batches.create({
      input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
    while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
      await new Promise((wake) => setTimeout(wake, 100));
      batch = await client.batches.retrieve(batch.id);
    }
    const output = await (await client.files.content(batch.output_file_id)).text();
    await client.files.delete(file.id);
    return { status: batch.status, counts: batch.request_counts,
      texts: output.trim().split("\n").map((line) => JSON.parse(line).response.body.choices[0].message.content) };
  },

  async errors() {
    return {
      model: await failure(client.chat.completions.create({ model: "nobody", messages: question })),
      field: await failure(client.chat.completions.create({ model, messages: question, temperature: 2.5 })),
      context: await failure(client.chat.completions.create({
        model, messages: [{ role: "user", content: "fox ".repeat(3000) }] })),
      key: await failure(new OpenAI({ baseURL, apiKey: "aph_" + "0".repeat(40), maxRetries: 0 }).models.list()),
      timeout: await failure(client.chat.completions.create(
        { model, messages: story, max_tokens: 1900, ignore_eos: true }, { timeout: 300 })),
    };
  },
};

// What a call was refused with.
async function failure(call) {
  try {
    await call;
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status ?? null, code: error.code ?? null,
      param: error.param ?? null };
  }
}

const results = {};
for (const [name, step] of Object.entries(steps)) {
  try {
    results[name] = { result: await step() };
  } catch (error) {
    results[name] = { failed: String(error.stack ?? error) };
  }
}
console.log(JSON.stringify(results));
