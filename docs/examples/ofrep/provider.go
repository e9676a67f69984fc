package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/open-feature/go-sdk/openfeature"
)

// Provider asks the proxy at URL for each evaluation, with an SDK key.
type Provider struct{ URL, Key string }

func (Provider) Metadata() openfeature.Metadata { return openfeature.Metadata{Name: "ff-proxy"} }
func (Provider) Hooks() []openfeature.Hook      { return nil }

func (p Provider) BooleanEvaluation(ctx context.Context, flag string, fallback bool, who openfeature.FlattenedContext) openfeature.BoolResolutionDetail {
	value, detail := evaluate(ctx, p, flag, fallback, who)
	return openfeature.BoolResolutionDetail{Value: value, ProviderResolutionDetail: detail}
}

func (p Provider) StringEvaluation(ctx context.Context, flag string, fallback string, who openfeature.FlattenedContext) openfeature.StringResolutionDetail {
	value, detail := evaluate(ctx, p, flag, fallback, who)
	return openfeature.StringResolutionDetail{Value: value, ProviderResolutionDetail: detail}
}

func (p Provider) IntEvaluation(ctx context.Context, flag string, fallback int64, who openfeature.FlattenedContext) openfeature.IntResolutionDetail {
	value, detail := evaluate(ctx, p, flag, fallback, who)
	return openfeature.IntResolutionDetail{Value: value, ProviderResolutionDetail: detail}
}

func (p Provider) FloatEvaluation(ctx context.Context, flag string, fallback float64, who openfeature.FlattenedContext) openfeature.FloatResolutionDetail {
	value, detail := evaluate(ctx, p, flag, fallback, who)
	return openfeature.FloatResolutionDetail{Value: value, ProviderResolutionDetail: detail}
}

func (p Provider) ObjectEvaluation(ctx context.Context, flag string, fallback any, who openfeature.FlattenedContext) openfeature.InterfaceResolutionDetail {
	value, detail := evaluate(ctx, p, flag, fallback, who)
	return openfeature.InterfaceResolutionDetail{Value: value, ProviderResolutionDetail: detail}
}

// evaluate gives the value, or the fallback with the error.
func evaluate[T any](ctx context.Context, p Provider, flag string, fallback T, who openfeature.FlattenedContext) (T, openfeature.ProviderResolutionDetail) {
	value, detail, err := ask[T](ctx, p, flag, who)
	if err != nil {
		failed := openfeature.NewGeneralResolutionError(err.Error())
		return fallback, openfeature.ProviderResolutionDetail{ResolutionError: failed, Reason: openfeature.ErrorReason}
	}
	return value, detail
}

func ask[T any](ctx context.Context, p Provider, flag string, who openfeature.FlattenedContext) (value T, detail openfeature.ProviderResolutionDetail, err error) {
	body, err := json.Marshal(map[string]any{"context": who})
	if err != nil {
		return
	}
	address := p.URL + "/ofrep/v1/evaluate/flags/" + url.PathEscape(flag)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return
	}
	request.Header.Set("X-API-Key", p.Key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return value, detail, fmt.Errorf("%s: %s", flag, response.Status)
	}
	var answer struct {
		Value           T
		Reason, Variant string
	}
	err = json.NewDecoder(response.Body).Decode(&answer)
	detail = openfeature.ProviderResolutionDetail{Reason: openfeature.Reason(answer.Reason), Variant: answer.Variant}
	return answer.Value, detail, err
}
