import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import io.harness.cf.client.api.BaseConfig;
import io.harness.cf.client.api.CfClient;
import io.harness.cf.client.api.Event;
import io.harness.cf.client.api.FeatureFlagInitializeException;
import io.harness.cf.client.connector.HarnessConfig;
import io.harness.cf.client.connector.HarnessConnector;
import io.harness.cf.client.dto.Target;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/** Drives the Harness Java SDK: JSON lines in, JSON lines out (see tests/sdk/README.md). */
public final class Driver {
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  private static synchronized void emit(JsonObject message) {
    OUT.println(message);
  }

  private static void emitEvent(String event, String property, String value) {
    JsonObject message = new JsonObject();
    message.addProperty("event", event);
    if (property != null) {
      message.addProperty(property, value);
    }
    emit(message);
  }

  /** The SDK has no events for its stream: its numbered log codes tell. */
  private static final class CodeHandler extends Handler {
    @Override
    public void publish(LogRecord record) {
      String text = String.valueOf(record.getMessage());
      System.err.println(record.getLevel() + " " + text);
      if (text.contains(":5000)")) {
        emitEvent("streaming", null, null);
      } else if (text.contains(":5001)")) {
        emitEvent("disconnected", null, null);
      }
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }

  private static Target targetOf(JsonObject wire) {
    Target.TargetBuilder builder = Target.builder().identifier(wire.get("identifier").getAsString());
    if (wire.has("name")) {
      builder.name(wire.get("name").getAsString());
    }
    Map<String, Object> attributes = new HashMap<>();
    if (wire.has("attributes")) {
      for (Map.Entry<String, JsonElement> entry : wire.getAsJsonObject("attributes").entrySet()) {
        attributes.put(entry.getKey(), new Gson().fromJson(entry.getValue(), Object.class));
      }
    }
    return builder.attributes(attributes).build();
  }

  private static JsonElement answer(CfClient client, JsonObject command) {
    String flag = command.get("flag").getAsString();
    Target target = targetOf(command.getAsJsonObject("target"));
    JsonElement fallback = command.get("default");
    switch (command.get("kind").getAsString()) {
      case "boolean":
        return new JsonPrimitive(client.boolVariation(flag, target, fallback.getAsBoolean()));
      case "string":
        return new JsonPrimitive(client.stringVariation(flag, target, fallback.getAsString()));
      case "int":
      case "number":
        return new JsonPrimitive(client.numberVariation(flag, target, fallback.getAsDouble()));
      case "json":
        return client.jsonVariation(flag, target, fallback.getAsJsonObject());
      default:
        throw new IllegalArgumentException("unknown kind");
    }
  }

  private static void announce(CfClient client) {
    try {
      client.waitForInitialization();
      emitEvent("ready", null, null);
    } catch (FeatureFlagInitializeException error) {
      emitEvent("failed", "error", String.valueOf(error));
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    }
  }

  public static void main(String[] arguments) throws Exception {
    Logger root = Logger.getLogger("");
    for (Handler handler : root.getHandlers()) {
      root.removeHandler(handler);
    }
    root.addHandler(new CodeHandler());
    root.setLevel(Level.INFO);

    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    JsonObject options = JsonParser.parseString(lines.readLine()).getAsJsonObject();
    HarnessConnector connector =
        new HarnessConnector(
            options.get("apiKey").getAsString(),
            HarnessConfig.builder()
                .configUrl(options.get("baseUrl").getAsString())
                .eventUrl(options.get("eventsUrl").getAsString())
                .build());
    CfClient client =
        new CfClient(
            connector,
            BaseConfig.builder()
                .streamEnabled(options.get("stream").getAsBoolean())
                .pollIntervalInSeconds(options.get("pollSeconds").getAsInt())
                .build());
    client.on(Event.CHANGED, flag -> emitEvent("changed", "flag", flag));
    Thread announcer = new Thread(() -> announce(client));
    announcer.setDaemon(true);
    announcer.start();

    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonObject command = JsonParser.parseString(line).getAsJsonObject();
      JsonObject reply = new JsonObject();
      reply.add("id", command.get("id"));
      boolean closing = "close".equals(command.get("cmd").getAsString());
      try {
        if (closing) {
          client.close();
          reply.add("result", JsonNull.INSTANCE);
        } else {
          reply.add("result", answer(client, command));
        }
      } catch (RuntimeException error) {
        reply.addProperty("error", String.valueOf(error));
      }
      emit(reply);
      if (closing) {
        break;
      }
    }
    System.exit(0); // the SDK keeps threads that are no daemons
  }
}
