// Command daprd is Dapr's sidecar with only the component types this shop uses.
package main

import (
	"context"
	"fmt"
	"os"

	bindingmysql "github.com/dapr/components-contrib/bindings/mysql"
	nrkubernetes "github.com/dapr/components-contrib/nameresolution/kubernetes"
	nrsqlite "github.com/dapr/components-contrib/nameresolution/sqlite"
	pubsubkafka "github.com/dapr/components-contrib/pubsub/kafka"
	secretkubernetes "github.com/dapr/components-contrib/secretstores/kubernetes"
	secretenv "github.com/dapr/components-contrib/secretstores/local/env"
	secretfile "github.com/dapr/components-contrib/secretstores/local/file"
	statemongodb "github.com/dapr/components-contrib/state/mongodb"
	statemysql "github.com/dapr/components-contrib/state/mysql"
	"go.opencensus.io/stats/view"

	"github.com/dapr/dapr/cmd/daprd/options"
	"github.com/dapr/dapr/pkg/buildinfo"
	"github.com/dapr/dapr/pkg/components/bindings"
	"github.com/dapr/dapr/pkg/components/configuration"
	"github.com/dapr/dapr/pkg/components/conversation"
	"github.com/dapr/dapr/pkg/components/crypto"
	"github.com/dapr/dapr/pkg/components/lock"
	"github.com/dapr/dapr/pkg/components/middleware/http"
	"github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/dapr/pkg/components/secretstores"
	"github.com/dapr/dapr/pkg/components/state"
	"github.com/dapr/dapr/pkg/healthz"
	"github.com/dapr/dapr/pkg/metrics"
	"github.com/dapr/dapr/pkg/modes"
	"github.com/dapr/dapr/pkg/runtime"
	"github.com/dapr/dapr/pkg/runtime/registry"
	"github.com/dapr/dapr/pkg/security"
	"github.com/dapr/kit/concurrency"
	"github.com/dapr/kit/logger"
	"github.com/dapr/kit/signals"
)

var (
	log          = logger.NewLogger("dapr.runtime")
	componentLog = logger.NewLogger("dapr.contrib")
)

func registerComponents() {
	bindings.DefaultRegistry.RegisterOutputBinding(bindingmysql.NewMysql, "mysql")
	nameresolution.DefaultRegistry.RegisterComponent(nrkubernetes.NewResolver, "kubernetes")
	nameresolution.DefaultRegistry.RegisterComponent(nrsqlite.NewResolver, "sqlite")
	pubsub.DefaultRegistry.RegisterComponent(pubsubkafka.NewKafka, "kafka")
	secretstores.DefaultRegistry.RegisterComponent(secretkubernetes.NewKubernetesSecretStore, "kubernetes")
	secretstores.DefaultRegistry.RegisterComponent(secretenv.NewEnvSecretStore, "local.env")
	secretstores.DefaultRegistry.RegisterComponent(secretfile.NewLocalSecretStore, "local.file")
	state.DefaultRegistry.RegisterComponent(statemongodb.NewMongoDB, "mongodb")
	state.DefaultRegistry.RegisterComponent(statemysql.NewMySQLStateStore, "mysql")

	bindings.DefaultRegistry.Logger = componentLog
	nameresolution.DefaultRegistry.Logger = componentLog
	pubsub.DefaultRegistry.Logger = componentLog
	secretstores.DefaultRegistry.Logger = componentLog
	state.DefaultRegistry.Logger = componentLog
}

func main() {
	opts, err := options.New(os.Args[1:])
	if err != nil {
		log.Fatalf("bad flags: %v", err)
	}
	if opts.RuntimeVersion {
		fmt.Println(buildinfo.Version())
		return
	}
	opts.Logger.SetAppID(opts.AppID)
	if err := logger.ApplyOptionsToLoggers(&opts.Logger); err != nil {
		log.Fatal(err)
	}
	registerComponents()
	log.Infof("daprd %s starts", buildinfo.Version())

	// A SIGHUP (sent by daprd to itself when a Resiliency or Configuration file changes) ends one
	// run's context and begins the next run; SIGTERM and SIGINT end the process.
	ctx := signals.Context()
	for run := range signals.OnHUP(ctx) {
		if err := serve(run, opts); err != nil {
			log.Fatalf("daprd failed: %v", err)
		}
		if run.Err() == nil || ctx.Err() != nil {
			return
		}
	}
}

// serve runs one sidecar until its context ends.
func serve(ctx context.Context, o *options.Options) error {
	health := healthz.New()
	identity, err := security.New(ctx, security.Options{
		AppID:                   o.AppID,
		ControlPlaneNamespace:   o.ControlPlaneNamespace,
		ControlPlaneTrustDomain: o.ControlPlaneTrustDomain,
		Healthz:                 health,
		JwtAudiences:            o.SentryRequestJwtAudiences,
		MTLSEnabled:             o.EnableMTLS,
		Mode:                    modes.DaprMode(o.Mode),
		SentryAddress:           o.SentryAddress,
		TrustAnchors:            o.TrustAnchors,
	})
	if err != nil {
		return err
	}
	return concurrency.NewRunnerManager(identity.Run, func(ctx context.Context) error {
		handler, err := identity.Handler(ctx)
		if err != nil {
			return err
		}
		sidecar, err := runtime.FromConfig(ctx, runtimeConfig(o, handler, health))
		if err != nil {
			return err
		}
		return sidecar.Run(ctx)
	}).Run(ctx)
}

func runtimeConfig(o *options.Options, handler security.Handler, health healthz.Healthz) *runtime.Config {
	return &runtime.Config{
		// identity
		AppID: o.AppID, Mode: o.Mode, EnableMTLS: o.EnableMTLS, SentryAddress: o.SentryAddress,
		ControlPlaneAddress: o.ControlPlaneAddress, Security: handler,
		// configuration and resources
		Config: o.Config, ResourcesPath: o.ResourcesPath, ComponentsPath: o.ComponentsPath,
		DisableBuiltinK8sSecretStore: o.DisableBuiltinK8sSecretStore, DisableInitEndpoints: o.DisableInitEndpoints,
		// the sidecar's own listeners
		DaprHTTPPort: o.DaprHTTPPort, DaprAPIGRPCPort: o.DaprAPIGRPCPort, DaprInternalGRPCPort: o.DaprInternalGRPCPort,
		DaprAPIListenAddresses: o.DaprAPIListenAddresses, DaprInternalGRPCListenAddress: o.DaprInternalGRPCListenAddress,
		DaprPublicPort: o.DaprPublicPort, DaprPublicListenAddress: o.DaprPublicListenAddress,
		UnixDomainSocket: o.UnixDomainSocket, AllowedOrigins: o.AllowedOrigins, EnableAPILogging: o.EnableAPILogging,
		EnableProfiling: o.EnableProfiling, ProfilePort: o.ProfilePort,
		MaxRequestSize: o.MaxRequestSize, ReadBufferSize: o.ReadBufferSize,
		// the application behind it
		ApplicationPort: o.AppPort, AppProtocol: o.AppProtocol, AppSSL: o.AppSSL, AppChannelAddress: o.AppChannelAddress,
		AppMaxConcurrency: o.AppMaxConcurrency, EnableAppHealthCheck: o.EnableAppHealthCheck,
		AppHealthCheckPath: o.AppHealthCheckPath, AppHealthProbeInterval: o.AppHealthProbeInterval,
		AppHealthProbeTimeout: o.AppHealthProbeTimeout, AppHealthThreshold: o.AppHealthThreshold,
		// control plane services
		ActorsService: o.ActorsService, ActorsDisseminationTimeout: o.ActorsDisseminationTimeout,
		RemindersService: o.RemindersService, SchedulerAddress: o.SchedulerAddress, SchedulerStreams: o.SchedulerJobStreams,
		// stopping
		DaprGracefulShutdownSeconds: o.DaprGracefulShutdownSeconds, DaprBlockShutdownDuration: o.DaprBlockShutdownDuration,
		// what it is made of, and how it is watched
		Registry: registry.NewOptions().
			WithBindings(bindings.DefaultRegistry).
			WithConfigurations(configuration.DefaultRegistry).
			WithConversations(conversation.DefaultRegistry).
			WithCryptoProviders(crypto.DefaultRegistry).
			WithHTTPMiddlewares(http.DefaultRegistry).
			WithLocks(lock.DefaultRegistry).
			WithNameResolutions(nameresolution.DefaultRegistry).
			WithPubSubs(pubsub.DefaultRegistry).
			WithSecretStores(secretstores.DefaultRegistry).
			WithStateStores(state.DefaultRegistry),
		Healthz: health,
		Metrics: metrics.Options{
			Enabled: o.Metrics.Enabled(), Healthz: health, ListenAddress: o.Metrics.ListenAddress(), Log: log,
			Meter: view.NewMeter(), Namespace: metrics.DefaultMetricNamespace, Port: o.Metrics.Port(),
		},
	}
}
