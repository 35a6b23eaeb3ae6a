# The fanout program alone, static, in an image with nothing else but certificates, licence texts and an empty /tmp: for Fargate, for Docker and, with
# the command "lambda SERVICE", for Lambda. Build arguments: VERSION, what "fanout version" says.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY . .
ARG TARGETOS TARGETARCH VERSION
ENV GOMODCACHE=/cache/modules GOCACHE=/cache/build
RUN --mount=type=cache,target=/cache \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -tags lambda.norpc -ldflags="-s -w -X main.version=$VERSION" -o /fanout ./scripts/fanout && \
    scripts/licences /licences
RUN mkdir -p /image && mkdir -m 1777 /image/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /licences /licences
COPY --from=build /fanout /fanout
COPY --from=build --chown=65532:65532 /image/ /
# Where the root is read-only, as on Fargate, a volume is mounted here; it gets the owner and the mode of this folder.
VOLUME /tmp
USER 65532:65532
ENTRYPOINT ["/fanout"]
