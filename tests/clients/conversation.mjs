// What both TypeScript clients do with their orders: one JSON a line on stdin, what was seen on
// stdout; conversation.py says which orders there are.
import { createInterface } from "node:readline";

const say = (seen) => process.stdout.write(`${JSON.stringify(seen)}\n`);

// `call` makes one tools/call of this SDK; `ready` is the protocol version agreed upon.
export async function converse(client, { call, ready }) {
  const calls = new Map();

  async function obey({ id, op, call: other, name, arguments: args, timeout, progress, reset }) {
    if (op === "cancel") {
      calls.get(other)?.abort("The user pressed Escape.");
      return;
    }
    try {
      if (op === "list") {
        const { tools } = await client.listTools();
        say({ id, result: tools.map((tool) => tool.name) });
        return;
      }
      const options = { signal: (calls.set(id, new AbortController()), calls.get(id).signal) };
      if (timeout) options.timeout = timeout * 1000;
      if (progress) options.onprogress = (note) => say({ id, progress: note });
      if (reset) options.resetTimeoutOnProgress = true;
      say({ id, result: await call({ name, arguments: args }, options) });
    } catch (error) {
      say({ id, error: `${error.name ?? "Error"}: ${error.message ?? error}` });
    }
  }

  say({ ready });
  for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line));
  process.exit(0);
}
