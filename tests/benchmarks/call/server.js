// A loopback CloudBase and WeChat in one: it reads each request whole and answers at once, the SDK in protobuf.
const http = require('http')

const ANSWER = JSON.stringify({
  errcode: 0, errmsg: 'ok', img_size: { w: 966, h: 728 },
  results: [{ crop_left: 112, crop_top: 0, crop_right: 839, crop_bottom: 727 }],
})

// CommOpenApiResp: respData = 1, contentType = 2, httpCode = 4
function field(number, bytes) {
  const length = []
  let left = bytes.length
  do { length.push((left & 127) | (left > 127 ? 128 : 0)); left >>= 7 } while (left)
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes])
}
const PROTOBUF = Buffer.concat([
  field(1, Buffer.from(ANSWER)), field(2, Buffer.from('application/json')), Buffer.from([32, 200, 1]),
])

const server = http.createServer({ keepAliveTimeout: 60000 }, (request, response) => {
  request.on('data', () => {})
  request.on('end', () => {
    const body = request.url.startsWith('/sdk') ? PROTOBUF : ANSWER
    const type = request.url.startsWith('/sdk') ? 'application/octet-stream' : 'application/json'
    response.writeHead(200, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) })
    response.end(body)
  })
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
