// The node's programs and their command lines.
import { containerdSocket, inside } from './paths.ts'
import { nodeName, serviceSubnet, type Network } from './network.ts'
import { apiServerName } from './node-files.ts'

export type Programs = Record<
  'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler' | 'kubelet' | 'kube-proxy',
  string
>

export type NodeProgram = { name: string; command: string[] }

/**
 * All programs but containerd. Each waits for those that it needs, so all start at once; only
 * kubelet needs containerd first.
 */
export function nodePrograms(programs: Programs, { nodeAddress }: Network): NodeProgram[] {
  const pki = `${inside}/pki`
  const etcd = 'http://127.0.0.1:2379'
  const etcdPeer = 'http://127.0.0.1:2380'
  return [
    program('etcd', programs.etcd, {
      'data-dir': `${inside}/etcd`,
      // The data end with the cluster.
      'unsafe-no-fsync': true,
      'listen-client-urls': etcd,
      'advertise-client-urls': etcd,
      'listen-peer-urls': etcdPeer,
      'initial-advertise-peer-urls': etcdPeer,
      'initial-cluster': `default=${etcdPeer}`,
    }),
    program('kube-apiserver', programs['kube-apiserver'], {
      'etcd-servers': etcd,
      'advertise-address': nodeAddress,
      'secure-port': 6443,
      'cert-dir': pki,
      'tls-cert-file': `${pki}/cluster-${apiServerName}.crt`,
      'tls-private-key-file': `${pki}/cluster-${apiServerName}.key`,
      'kubelet-certificate-authority': `${pki}/cluster.crt`,
      'kubelet-client-certificate': `${pki}/cluster-${apiServerName}.crt`,
      'kubelet-client-key': `${pki}/cluster-${apiServerName}.key`,
      'kubelet-preferred-address-types': 'InternalIP',
      'token-auth-file': `${inside}/tokens.csv`,
      'client-ca-file': `${pki}/cluster.crt`,
      'authorization-mode': 'Node,RBAC',
      'enable-admission-plugins': 'NodeRestriction',
      'allow-privileged': true,
      'service-cluster-ip-range': serviceSubnet,
      'service-account-issuer': 'https://kubernetes.default.svc.cluster.local',
      'service-account-key-file': `${pki}/service-accounts.pub`,
      'service-account-signing-key-file': `${pki}/service-accounts.key`,
      // metrics-server answers for an API of its own; the API server calls it as this client.
      'requestheader-client-ca-file': `${pki}/cluster.crt`,
      'requestheader-allowed-names': apiServerName,
      'requestheader-extra-headers-prefix': 'X-Remote-Extra-',
      'requestheader-group-headers': 'X-Remote-Group',
      'requestheader-username-headers': 'X-Remote-User',
      'proxy-client-cert-file': `${pki}/cluster-${apiServerName}.crt`,
      'proxy-client-key-file': `${pki}/cluster-${apiServerName}.key`,
    }),
    program('kube-controller-manager', programs['kube-controller-manager'], {
      kubeconfig: `${inside}/controller-manager.kubeconfig`,
      // Its dozens of controllers start one after the other, and each asks for an account of its
      // own.
      'kube-api-qps': 500,
      'kube-api-burst': 1000,
      'use-service-account-credentials': true,
      'service-account-private-key-file': `${pki}/service-accounts.key`,
      'root-ca-file': `${pki}/cluster.crt`,
      'leader-elect': false,
      'bind-address': '127.0.0.1',
      'cert-dir': `${inside}/controller-manager`,
    }),
    program('kube-scheduler', programs['kube-scheduler'], {
      kubeconfig: `${inside}/scheduler.kubeconfig`,
      'leader-elect': false,
      'bind-address': '127.0.0.1',
    }),
    program('kubelet', programs.kubelet, {
      config: `${inside}/kubelet.json`,
      kubeconfig: `${inside}/kubelet.kubeconfig`,
      'hostname-override': nodeName,
      'node-ip': nodeAddress,
      'root-dir': '/var/lib/kubelet',
    }),
    program('kube-proxy', programs['kube-proxy'], { config: `${inside}/proxy.json` }),
  ]
}

/** @param config the file in `inside` that containerd reads */
export function containerdProgram(containerd: string, config: string): NodeProgram {
  return { name: 'containerd', command: [containerd, '--config', `${inside}/${config}`] }
}

export function ctrCommand(ctr: string, socket: string = containerdSocket): string[] {
  return [ctr, '--address', socket, '--namespace', 'k8s.io']
}

function program(name: string, file: string, flags: Record<string, string | number | boolean>): NodeProgram {
  return { name, command: [file, ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)] }
}
