// Configuration files of the node's programs, as data.
import { inside, containerdSocket } from './paths.ts'
import { dnsAddress, nodeName, type Network } from './network.ts'

/** Who may talk to the API server, each by a token of its own. */
export const accounts = {
  admin: { user: 'admin', groups: 'system:masters' },
  'controller-manager': { user: 'system:kube-controller-manager', groups: '' },
  scheduler: { user: 'system:kube-scheduler', groups: '' },
  kubelet: { user: `system:node:${nodeName}`, groups: 'system:nodes' },
  proxy: { user: 'system:kube-proxy', groups: '' },
} as const

export type AccountName = keyof typeof accounts
export const accountNames = Object.keys(accounts) as AccountName[]
export type Tokens = Record<AccountName, string>

/** The API server's own name in its certificate, by which kubelet knows it as a client too. */
export const apiServerName = 'kube-apiserver'

export const pauseImage = 'registry.k8s.io/pause:3.10'

/** What stands in which file, below `inside`. */
export function nodeFiles(network: Network, tokens: Tokens, cgroup: string): Record<string, string> {
  const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`
  return {
    'tokens.csv': accountNames
      .map((name) => `${tokens[name]},${accounts[name].user},${name},"${accounts[name].groups}"\n`)
      .join(''),
    ...Object.fromEntries(
      accountNames.map((name) => [
        `${name}.kubeconfig`,
        json(kubeconfig(network, { 'certificate-authority': `${inside}/pki/cluster.crt` }, tokens[name])),
      ]),
    ),
    'containerd.toml': containerdConfig,
    'containerd-without-kubernetes.toml': `disabled_plugins = ["io.containerd.grpc.v1.cri"]\n${containerdBase}`,
    'cni/10-pods.conflist': json(podNetwork(network)),
    'kubelet.json': json(kubeletConfig(cgroup)),
    'proxy.json': json(proxyConfig(network)),
    'resolv.conf': `nameserver ${dnsAddress}\n`,
  }
}

/** @param authority where the authority's certificate is, as a kubeconfig's cluster names it */
export function kubeconfig(
  { nodeAddress }: Network,
  authority: { 'certificate-authority': string } | { 'certificate-authority-data': string },
  token: string,
) {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'sidecart', cluster: { server: `https://${nodeAddress}:6443`, ...authority } }],
    users: [{ name: 'sidecart', user: { token } }],
    contexts: [{ name: 'sidecart', context: { cluster: 'sidecart', user: 'sidecart' } }],
    'current-context': 'sidecart',
  }
}

const containerdBase = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "${containerdSocket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${inside}/opt"
`

// restrict_oom_score_adj: without CAP_SYS_RESOURCE, as in many containers and CI machines, a
// negative score is refused and no pod would start.
const containerdConfig = `${containerdBase}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${inside}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`

function podNetwork({ podSubnet }: Network) {
  return {
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          dataDir: `${inside}/cni-addresses`,
          ranges: [[{ subnet: podSubnet }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
    ],
  }
}

function kubeletConfig(cgroup: string) {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    failCgroupV1: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    authentication: { x509: { clientCAFile: `${inside}/pki/cluster.crt` }, anonymous: { enabled: false } },
    authorization: { mode: 'Webhook' },
    tlsCertFile: `${inside}/pki/cluster-${nodeName}.crt`,
    tlsPrivateKeyFile: `${inside}/pki/cluster-${nodeName}.key`,
    clusterDNS: [dnsAddress],
    clusterDomain: 'cluster.local',
    resolvConf: `${inside}/resolv.conf`,
    podLogsDir: '/var/log/pods',
    volumePluginDir: `${inside}/volume-plugins`,
    failSwapOn: false,
    makeIPTablesUtilChains: false,
    // Images are not collected: no registry would give them back.
    imageGCHighThresholdPercent: 100,
    // The disk is the machine's. Of a large one that is nearly full, 1% is still a lot.
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '200Mi', 'imagefs.available': '200Mi' },
    // Pods of a whole shop start at once; the default asks the API server 50 times a second at
    // most.
    serializeImagePulls: false,
    nodeStatusUpdateFrequency: '5s',
    maxPods: 200,
  }
}

function proxyConfig({ podSubnet }: Network) {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig: `${inside}/proxy.kubeconfig` },
    mode: 'nftables',
    clusterCIDR: podSubnet,
    hostnameOverride: nodeName,
    // The limits of connection tracking belong to the machine and cannot be written from here.
    conntrack: { maxPerCore: 0, min: 0 },
    nftables: { minSyncPeriod: '100ms', syncPeriod: '30s' },
    metricsBindAddress: '127.0.0.1:10249',
  }
}
