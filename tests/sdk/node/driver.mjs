// Drives the Harness Node.js SDK: JSON lines in, JSON lines out (see tests/sdk/README.md).

import { createInterface } from 'node:readline';

import { Client, Event } from '@harnessio/ff-nodejs-server-sdk';

const CALLS = {
  boolean: 'boolVariation',
  string: 'stringVariation',
  int: 'numberVariation',
  number: 'numberVariation',
  json: 'jsonVariation',
};

const emit = (message) => process.stdout.write(JSON.stringify(message) + '\n');

// The SDK's own event for an open stream is fired before it is open: its debug log tells the truth.
const LOGGED_EVENTS = [
  ['SSE got HTTP response code 200', 'streaming'],
  ['SDKCODE:5001', 'disconnected'],
];

function note(...parts) {
  const text = parts.map(String).join(' ');
  process.stderr.write(text + '\n');
  for (const [mark, event] of LOGGED_EVENTS) {
    if (text.includes(mark)) emit({ event });
  }
}

const logger = { trace: note, debug: note, info: note, warn: note, error: note };

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const options = JSON.parse((await lines.next()).value);
const client = new Client(options.apiKey, {
  baseUrl: options.baseUrl,
  eventsUrl: options.eventsUrl,
  enableStream: options.stream,
  pollInterval: options.pollSeconds * 1000,
  logger,
});

let ready = false;
client.on(Event.CHANGED, (flag) => emit({ event: 'changed', flag }));
client.waitForInitialization().then(
  () => {
    ready = true;
    emit({ event: 'ready' });
  },
  (error) => emit({ event: 'failed', error: String(error) }),
);

for await (const line of lines) {
  const command = JSON.parse(line);
  if (command.cmd === 'close') {
    if (ready) client.close(); // posts what was counted; the process ends when that is done
    emit({ id: command.id, result: null });
    break;
  }
  try {
    const result = await client[CALLS[command.kind]](command.flag, command.target, command.default);
    emit({ id: command.id, result });
  } catch (error) {
    emit({ id: command.id, error: String(error) });
  }
}
process.stdin.destroy();
