// Where something listens, as people and URLs write it.

/** `127.0.0.1:8686`; an IPv6 address in brackets: `[::1]:8686`. */
export function hostPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
