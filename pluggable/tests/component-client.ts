import { credentials, Metadata, type ChannelCredentials, type ServiceError } from '@grpc/grpc-js'

type ClientClass<Client> = new (
  address: string,
  credentials: ChannelCredentials,
  options: Record<string, number>,
) => Client
type Callback<Response> = (error: ServiceError | null, response: Response) => void

/**
 * Calls one instance of a component by its socket. Each call is a promise with a deadline of 15 s.
 */
export function createClient<Client extends { close(): void }>(
  clientClass: ClientClass<Client>,
  socket: string,
  instance: string,
) {
  const client = new clientClass(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
  })
  const metadata = new Metadata()
  metadata.set('x-component-instance', instance)
  return {
    call: <Request, Response>(
      pick: (
        client: Client,
      ) => (
        request: Request,
        metadata: Metadata,
        options: { deadline: number },
        callback: Callback<Response>,
      ) => unknown,
      request: Request,
    ): Promise<Response> =>
      new Promise((resolve, reject) => {
        pick(client).call(client, request, metadata, { deadline: Date.now() + 15_000 }, (error, response) =>
          error ? reject(error) : resolve(response),
        )
      }),
    close: () => client.close(),
  }
}
