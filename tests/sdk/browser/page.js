// Drives the Harness JavaScript SDK inside a browser (see tests/sdk/README.md). Commands come by long poll
// from the page's own origin, events go back there; the SDK itself talks to another origin.

const { initialize, Event } = window.HarnessFFSDK;

let sent = Promise.resolve();

// One after another, so that events arrive in the order in which they happened.
function emit(message) {
  const body = JSON.stringify(message);
  sent = sent.then(() => fetch('/events', { method: 'POST', body }));
}

// One client of the protocol. The SDK knows one target per instance: the first has the stream, the others
// fetch once, because a browser opens no more than six connections to one origin.
class Client {
  constructor(name, options) {
    this.name = name;
    this.options = options;
    this.instances = new Map();
    const instance = this.open(options.target, options.stream, !options.stream);
    instance.ready.then(
      () => this.emit({ event: 'ready' }),
      (error) => this.emit({ event: 'failed', error: String(error) }),
    );
    instance.sdk.on(Event.CHANGED, (change) => this.emit({ event: 'changed', flag: change.flag }));
    instance.sdk.on(Event.CONNECTED, () => this.emit({ event: 'streaming' }));
    instance.sdk.on(Event.DISCONNECTED, () => this.emit({ event: 'disconnected' }));
  }

  emit(message) {
    emit({ client: this.name, ...message });
  }

  open(target, streamEnabled, pollingEnabled) {
    const { apiKey, baseUrl, eventsUrl, pollSeconds } = this.options;
    const sdk = initialize(apiKey, target, {
      baseUrl,
      eventUrl: eventsUrl,
      streamEnabled,
      pollingEnabled,
      pollingInterval: pollSeconds * 1000,
    });
    const ready = new Promise((resolve, reject) => {
      sdk.on(Event.READY, resolve);
      sdk.on(Event.ERROR_AUTH, reject);
    });
    ready.catch(() => {}); // a failure is told where it is awaited
    const instance = { sdk, ready };
    this.instances.set(target.identifier, instance);
    return instance;
  }

  async variation({ flag, target, default: fallback }) {
    const known = this.instances.get(target.identifier);
    const { sdk, ready } = known ?? this.open(target, false, false);
    if (!known) await ready;
    return sdk.variation(flag, fallback);
  }

  close() {
    for (const { sdk } of this.instances.values()) sdk.close();
  }
}

const clients = new Map();

async function obey({ client: name, id, cmd, ...details }) {
  try {
    let result = null;
    if (cmd === 'open') clients.set(name, new Client(name, details.options));
    if (cmd === 'variation') result = await clients.get(name).variation(details);
    if (cmd === 'close') clients.get(name).close();
    emit({ client: name, id, result });
  } catch (error) {
    emit({ client: name, id, error: String(error) });
  }
}

for (;;) {
  const commands = await (await fetch('/commands')).json();
  for (const command of commands) obey(command);
}
