//! stub
#[derive(Debug)]
pub struct Request;
#[derive(Debug)]
pub struct Response;
#[derive(Debug, Default, Clone)]
pub struct Negotiated;
impl Negotiated {
    pub fn subprotocol(&self) -> Option<&str> {
        None
    }
}
