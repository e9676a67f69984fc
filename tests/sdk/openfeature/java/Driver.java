import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.openfeature.contrib.providers.ofrep.OfrepProvider;
import dev.openfeature.contrib.providers.ofrep.OfrepProviderOptions;
import dev.openfeature.sdk.Client;
import dev.openfeature.sdk.FlagEvaluationDetails;
import dev.openfeature.sdk.ImmutableContext;
import dev.openfeature.sdk.OpenFeatureAPI;
import dev.openfeature.sdk.Structure;
import dev.openfeature.sdk.Value;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** Asks the OFREP provider for Java: JSON lines in, JSON lines out (see tests/sdk/README.md). */
public final class Driver {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static ImmutableContext contextOf(JsonNode wire) {
    Map<String, Value> attributes = new HashMap<>();
    wire.properties().forEach(member -> attributes.put(member.getKey(), valueOf(member.getValue())));
    Value key = attributes.remove("targetingKey");
    return key == null
        ? new ImmutableContext(attributes)
        : new ImmutableContext(key.asString(), attributes);
  }

  private static Value valueOf(JsonNode wire) {
    return Value.objectToValue(JSON.convertValue(wire, Object.class));
  }

  private static FlagEvaluationDetails<?> ask(Client client, JsonNode asked) {
    String flag = asked.get("flag").asText();
    JsonNode fallback = asked.get("fallback");
    ImmutableContext context = contextOf(asked.get("context"));
    switch (asked.get("kind").asText()) {
      case "boolean":
        return client.getBooleanDetails(flag, fallback.asBoolean(), context);
      case "string":
        return client.getStringDetails(flag, fallback.asText(), context);
      case "integer":
        return client.getIntegerDetails(flag, fallback.asInt(), context);
      case "float":
        return client.getDoubleDetails(flag, fallback.asDouble(), context);
      case "object":
        return client.getObjectDetails(flag, valueOf(fallback), context);
      default:
        throw new IllegalArgumentException("unknown kind");
    }
  }

  private static Object plain(Object value) {
    if (!(value instanceof Value)) {
      return value;
    }
    Value wrapped = (Value) value;
    Structure structure = wrapped.asStructure();
    return structure == null ? wrapped.asObject() : structure.asObjectMap();
  }

  public static void main(String[] arguments) throws Exception {
    OfrepProviderOptions options =
        OfrepProviderOptions.builder()
            .baseUrl(arguments[0])
            .headers(ImmutableMap.of("X-API-Key", ImmutableList.of(arguments[1])))
            .build();
    OpenFeatureAPI api = OpenFeatureAPI.getInstance();
    api.setProviderAndWait(OfrepProvider.constructProvider(options));
    Client client = api.getClient();
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      FlagEvaluationDetails<?> details = ask(client, JSON.readTree(line));
      Map<String, Object> answer = new HashMap<>();
      answer.put("value", plain(details.getValue()));
      answer.put("reason", details.getReason());
      answer.put("variant", details.getVariant());
      answer.put("errorCode", details.getErrorCode());
      out.println(JSON.writeValueAsString(answer));
    }
    api.shutdown();
    System.exit(0); // whatever threads the provider keeps
  }
}
