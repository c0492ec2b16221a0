// Registry clients in Go that we did not write, each by its own library: containerd's resolver, pusher and fetcher, which is what containerd,
// nerdctl and k3s pull with, and crane's.
//
//	go_clients HOST REPOSITORY USER TOKEN
//
// Prints "ok" last, or ends with what went wrong.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func main() {
	host, repository, user, token := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	if err := withContainerd(host, repository+"/containerd", user, token); err != nil {
		fmt.Println("containerd:", err)
		os.Exit(1)
	}
	if err := withCrane(host, repository+"/crane", user, token); err != nil {
		fmt.Println("crane:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

// calls notes the requests to the token endpoint.
type calls struct {
	lock  sync.Mutex
	token []string
}

func (c *calls) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(request)
	if err == nil && request.URL.Path == "/token" {
		c.lock.Lock()
		c.token = append(c.token, fmt.Sprint(request.Method, " ", response.StatusCode))
		c.lock.Unlock()
	}
	return response, err
}

// resolver is containerd's with credentials; without a user the secret is a refresh token.
func resolver(noted *calls, user, secret string, refreshed func(string)) remotes.Resolver {
	client := &http.Client{Transport: noted}
	options := []docker.AuthorizerOpt{
		docker.WithAuthClient(client),
		docker.WithAuthCreds(func(string) (string, string, error) { return user, secret, nil }),
	}
	if refreshed != nil {
		options = append(options, docker.WithFetchRefreshToken(func(_ context.Context, token string, _ *http.Request) { refreshed(token) }))
	}
	hosts := docker.ConfigureDefaultRegistries(
		docker.WithClient(client),
		docker.WithPlainHTTP(docker.MatchLocalhost),
		docker.WithAuthorizer(docker.NewDockerAuthorizer(options...)),
	)
	return docker.NewResolver(docker.ResolverOptions{Hosts: hosts})
}

func withContainerd(host, repository, user, token string) error {
	ctx, ref := context.Background(), host+"/"+repository+":1"
	layer, config := bytes.Repeat([]byte("layer"), 300_000), []byte("{}")
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    of("application/vnd.test.config.v1+json", config),
		Layers:    []ocispec.Descriptor{of(ocispec.MediaTypeImageLayer, layer)},
	})
	if err != nil {
		return err
	}
	var refresh string
	noted := &calls{}
	pushing := resolver(noted, user, token, func(token string) { refresh = token })
	pusher, err := pushing.Pusher(ctx, ref)
	if err != nil {
		return err
	}
	for _, content := range []struct {
		kind  string
		bytes []byte
	}{{"application/vnd.test.config.v1+json", config}, {ocispec.MediaTypeImageLayer, layer}, {ocispec.MediaTypeImageManifest, manifest}} {
		if err := push(ctx, pusher, of(content.kind, content.bytes), content.bytes); err != nil {
			return fmt.Errorf("push of %s: %w", content.kind, err)
		}
	}
	if refresh == "" {
		return errors.New("no refresh token was got")
	}
	// By form alone: had POST failed, it would have fallen back to GET.
	if slices.ContainsFunc(noted.token, func(call string) bool { return call != "POST 200" }) || len(noted.token) == 0 {
		return fmt.Errorf("token calls: %v", noted.token)
	}

	again := &calls{}
	pulling := resolver(again, "", refresh, nil)
	resolved, found, err := pulling.Resolve(ctx, ref)
	if err != nil {
		return fmt.Errorf("resolve with the refresh token: %w", err)
	}
	if found.Digest != digest.FromBytes(manifest) || found.MediaType != ocispec.MediaTypeImageManifest {
		return fmt.Errorf("resolved %v", found)
	}
	fetcher, err := pulling.Fetcher(ctx, resolved)
	if err != nil {
		return err
	}
	for _, expected := range [][]byte{manifest, layer} {
		kind := ocispec.MediaTypeImageLayer
		if len(expected) == len(manifest) {
			kind = ocispec.MediaTypeImageManifest
		}
		content, err := fetcher.Fetch(ctx, of(kind, expected))
		if err != nil {
			return fmt.Errorf("fetch of %s: %w", kind, err)
		}
		got, err := io.ReadAll(content)
		if err != nil || !bytes.Equal(got, expected) {
			return fmt.Errorf("fetch of %s: %d bytes, %w", kind, len(got), err)
		}
		if err := content.Close(); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(again.token, func(call string) bool { return call != "POST 200" }) || len(again.token) == 0 {
		return fmt.Errorf("token calls with the refresh token: %v", again.token)
	}
	refused := &calls{}
	if _, _, err := resolver(refused, user, token+"x", nil).Resolve(ctx, ref); err == nil || !strings.Contains(err.Error(), "401") {
		return fmt.Errorf("a wrong token: %v", err)
	}
	return nil
}

func of(kind string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: kind, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

func push(ctx context.Context, pusher remotes.Pusher, descriptor ocispec.Descriptor, content []byte) error {
	writer, err := pusher.Push(ctx, descriptor)
	if err != nil {
		return err
	}
	defer writer.Close()
	if _, err := writer.Write(content); err != nil {
		return err
	}
	return writer.Commit(ctx, descriptor.Size, descriptor.Digest)
}

// withCrane pushes an image of Docker's schema 2 and a list of such, pulls them, and looks at the catalogue.
func withCrane(host, repository, user, token string) error {
	credentials := crane.WithAuth(&authn.Basic{Username: user, Password: token})
	image, err := random.Image(70_000, 3)
	if err != nil {
		return err
	}
	for tag, kinds := range map[string][2]types.MediaType{
		"docker": {types.DockerManifestSchema2, types.DockerConfigJSON},
		"oci":    {types.OCIManifestSchema1, types.OCIConfigJSON},
	} {
		typed := mutate.ConfigMediaType(mutate.MediaType(image, kinds[0]), kinds[1])
		ref := host + "/" + repository + ":" + tag
		if err := crane.Push(typed, ref, credentials); err != nil {
			return fmt.Errorf("push %s: %w", tag, err)
		}
		pulled, err := crane.Pull(ref, credentials)
		if err != nil {
			return fmt.Errorf("pull %s: %w", tag, err)
		}
		kind, err := pulled.MediaType()
		if err != nil || kind != kinds[0] {
			return fmt.Errorf("pulled %s: %s, %w", tag, kind, err)
		}
		wanted, err := typed.Digest()
		if err != nil {
			return err
		}
		found, err := crane.Digest(ref, credentials)
		if err != nil || found != wanted.String() {
			return fmt.Errorf("digest %s: %s, %w", tag, found, err)
		}
		layers, err := pulled.Layers()
		if err != nil {
			return err
		}
		for _, layer := range layers {
			content, err := layer.Compressed()
			if err != nil {
				return fmt.Errorf("layer: %w", err)
			}
			// The library compares the digest while it is read.
			if _, err := io.Copy(io.Discard, content); err != nil {
				return fmt.Errorf("layer: %w", err)
			}
		}
	}
	list, err := random.Index(1_000, 1, 2)
	if err != nil {
		return err
	}
	if err := pushIndex(mutate.IndexMediaType(list, types.DockerManifestList), host+"/"+repository+":list", credentials); err != nil {
		return fmt.Errorf("list: %w", err)
	}
	names, err := crane.Catalog(host, credentials)
	if err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	if !slices.Contains(names, repository) {
		return fmt.Errorf("catalogue: %v", names)
	}
	tags, err := crane.ListTags(host+"/"+repository, credentials)
	if err != nil || !slices.Equal(tags, []string{"docker", "list", "oci"}) {
		return fmt.Errorf("tags: %v, %w", tags, err)
	}
	return nil
}

func pushIndex(index v1.ImageIndex, address string, credentials crane.Option) error {
	options := crane.GetOptions(credentials)
	ref, err := name.ParseReference(address, options.Name...)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(ref, index, options.Remote...); err != nil {
		return err
	}
	found, err := remote.Head(ref, options.Remote...)
	if err != nil {
		return err
	}
	if found.MediaType != types.DockerManifestList {
		return fmt.Errorf("served as %s", found.MediaType)
	}
	return nil
}
