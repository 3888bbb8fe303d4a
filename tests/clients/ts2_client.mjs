// A client of the TypeScript SDK 2.x: node ts2_client.mjs MODE URL TOKEN. MODE: `legacy`, which is
// its default, or `auto`. Orders on stdin, what it saw on stdout, one JSON a line; conversation.py
// says which. Without `timeout`: the SDK's own 60 s.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { converse } from "./conversation.mjs";

const [mode, url, token] = process.argv.slice(2);

const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const client = new Client({ name: "ts2", version: "1" }, { versionNegotiation: { mode } });
await client.connect(transport);

await converse(client, {
  call: (params, options) => client.callTool(params, options),
  ready: client.getNegotiatedProtocolVersion(),
});
