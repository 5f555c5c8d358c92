// `node fields.mjs URL < cases.json`: what OpenAI's own client for Node is told of each set of fields, as JSON lines.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "none", maxRetries: 0 });
for (const { route, body } of JSON.parse(readFileSync(0, "utf8"))) {
  const create = route === "chat" ? (asked) => client.chat.completions.create(asked) : (asked) => client.completions.create(asked);
  const told = {};
  try {
    told.choices = (await create(body)).choices;
    told.streamed = [];
    if (!("prompt_logprobs" in body)) {
      for await (const chunk of await create({ ...body, stream: true })) told.streamed.push(...chunk.choices);
    }
  } catch (error) {
    told.refused = { param: error.param ?? null, message: error.message };
  }
  console.log(JSON.stringify(told));
}
