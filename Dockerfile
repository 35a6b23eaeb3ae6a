# The fanout program alone, static, in an image with nothing else but certificates and licence texts.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY . .
ARG TARGETOS TARGETARCH
ENV GOMODCACHE=/cache/modules GOCACHE=/cache/build
RUN --mount=type=cache,target=/cache \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags="-s -w" -o /fanout ./scripts/fanout && \
    scripts/licences /licences

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /licences /licences
COPY --from=build /fanout /fanout
USER 65532:65532
ENTRYPOINT ["/fanout"]
